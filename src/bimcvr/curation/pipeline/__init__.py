"""The steps of `curate`, which turn an archive into a manifest."""
