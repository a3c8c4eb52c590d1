"""Time and memory of a training step, before a training starts."""
