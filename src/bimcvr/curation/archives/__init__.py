"""Reading archive files: what they contain, safe unpacking, one shard at a time."""
