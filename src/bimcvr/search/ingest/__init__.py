"""Bringing studies into an index."""
