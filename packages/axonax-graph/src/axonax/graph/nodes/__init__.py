"""Nodes, which users hold: any of them is a model; and what makes nodes of nodes or of nothing."""
