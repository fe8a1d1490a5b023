"""Conformance vectors in a folder outside the repository, run through one adapter."""
