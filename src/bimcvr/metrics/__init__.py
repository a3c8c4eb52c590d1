"""Retrieval metrics: pure functions on arrays and torchmetrics classes over them."""
