"""Volume encoders and what they are built of."""
