"""Findings named in a report: present, absent or uncertain."""
