"""Checks of a manifest's volumes, reports and cohort, which raise flags with evidence."""
