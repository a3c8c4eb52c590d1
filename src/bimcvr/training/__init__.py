"""LightningCLI over the retriever and its data."""
