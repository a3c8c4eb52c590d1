"""Search: an index of studies on disk, and queries by text, volume, study and keyword."""

from bimcvr.extras import require_extra

require_extra("search")
