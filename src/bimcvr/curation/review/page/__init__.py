"""The review queue as a local page."""
