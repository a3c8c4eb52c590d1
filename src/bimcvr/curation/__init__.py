"""From an archive to a manifest: sources, audit, anonymising, translating, labels, review, statistics."""
