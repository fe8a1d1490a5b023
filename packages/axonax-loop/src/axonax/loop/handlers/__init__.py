"""What is attached to a loop, a file each."""
