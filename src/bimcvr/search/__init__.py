"""Search: an index of studies on disk, and queries by text, volume, study and keyword."""
