"""Removing what identifies a person from a report."""
