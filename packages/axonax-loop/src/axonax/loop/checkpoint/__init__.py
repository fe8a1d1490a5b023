"""Checkpoints: files that are whole or not there, and what stands in them."""
