"""What the benchmark of ops measures, by family."""
