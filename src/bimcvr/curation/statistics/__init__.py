"""What a manifest holds: tables, figures, a page."""
