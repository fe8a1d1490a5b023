"""A model as text and in files: two tables of plain values, which a reader trusts in nothing."""
