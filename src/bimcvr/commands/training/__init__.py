"""Verbs that train a model or plan it."""
