"""Time and memory of a training step before anything is spent."""
