"""Answers for a terminal and as an HTML file."""
