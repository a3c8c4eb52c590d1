"""Checks of a manifest's rows: flags with evidence."""
