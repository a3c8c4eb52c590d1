"""Archive files: what they hold, unpacked safely, one shard at a time."""
