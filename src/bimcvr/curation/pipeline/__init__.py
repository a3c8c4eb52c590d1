"""The steps that turn an archive into a manifest."""
