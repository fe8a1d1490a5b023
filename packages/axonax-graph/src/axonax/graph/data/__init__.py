"""A model as data: layers are calls that were made, nodes are layers applied to nodes."""
