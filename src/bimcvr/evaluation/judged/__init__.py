"""Embeddings scored by the judgements of people."""
