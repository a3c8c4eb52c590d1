"""Readers of archives, one for each layout: they yield studies, and what is set aside with the reason."""
