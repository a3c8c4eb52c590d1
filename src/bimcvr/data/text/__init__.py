"""Sentences of a report and samplers of its words."""
