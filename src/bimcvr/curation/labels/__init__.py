"""Findings named in a report, and whether it states them as present, absent, uncertain or history."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
