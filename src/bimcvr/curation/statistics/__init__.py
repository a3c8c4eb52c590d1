"""Descriptive statistics of a manifest: tables, figures, an HTML page."""
