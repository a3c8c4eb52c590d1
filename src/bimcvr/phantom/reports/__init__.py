"""What is found in a phantom patient, and how a report says it."""
