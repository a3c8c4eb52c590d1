"""Readers of archives, one a layout: each yields studies, and what it could not take in with the reason."""
