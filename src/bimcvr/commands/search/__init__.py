"""Verbs that index studies and find them."""
