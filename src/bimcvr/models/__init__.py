"""The two-stream retriever and its parts."""
