"""Questions for people, and how far they agree."""
