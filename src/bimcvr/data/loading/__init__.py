"""What the DataLoader does: dataset, views, samplers, batches."""
