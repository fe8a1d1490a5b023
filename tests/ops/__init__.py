"""One table of every public op, and the tests that each row must pass."""
