"""Verbs that make, check and describe datasets."""
