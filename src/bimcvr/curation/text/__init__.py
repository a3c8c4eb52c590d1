"""Tokens and word lists that the rules share."""
