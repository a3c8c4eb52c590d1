"""Questions for reviewers, and their agreement."""
