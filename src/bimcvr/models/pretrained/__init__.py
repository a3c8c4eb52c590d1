"""Published weights from a hub id or a local folder."""
