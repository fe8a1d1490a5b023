"""From data to two pure functions: order and name the nodes, find shapes, initialize, run."""
