"""What values look like in a terminal, a notebook and a picture."""
