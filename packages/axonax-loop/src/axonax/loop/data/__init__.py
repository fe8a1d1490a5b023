"""Batches, and where they come from."""
