"""A model as text."""
