"""What a table is, how it is printed, and the published figures."""
