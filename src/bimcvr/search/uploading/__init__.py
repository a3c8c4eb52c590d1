"""Uploaded volumes: checked and unpacked, and the choice among the series of a zip."""
