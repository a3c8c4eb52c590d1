"""Verbs that score embeddings and compare methods."""
