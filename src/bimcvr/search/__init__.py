"""Search: an index of studies on disk, and queries by text, volume, study, keyword and words.

The names are loaded when they are first used; `__init__.pyi` lists them.
"""

import lazy_loader

from bimcvr.extras import require_extra

require_extra("search")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
