"""What graph.py measures: calls beside hand-written functions, and models of several libraries."""
