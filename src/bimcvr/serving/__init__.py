"""What the servers of this package share: checks of every request, limits on slow clients, pages, and how they run."""
