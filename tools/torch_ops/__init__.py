"""What torch has under another name or with other options, for the expressions in the table of ops."""
