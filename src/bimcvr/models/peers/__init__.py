"""Published towers of other groups, from their own packages (the extra `peers`): one file a model."""
