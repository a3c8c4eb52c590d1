"""Scoring anybody's embeddings against a manifest."""
