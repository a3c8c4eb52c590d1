"""The audit's output for people: an HTML page, a summary for the terminal, pictures."""
