"""The index on disk: one LanceDB table, vectors, pictures."""
