"""Resized volumes on disk."""
