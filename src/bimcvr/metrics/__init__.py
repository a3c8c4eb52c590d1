"""Retrieval metrics: pure functions of arrays, and a torchmetrics class for training.

The names below are imported on first use, so that `import bimcvr.metrics` loads no torch. Scores are cosines in
float64, ties are counted in expectation, and every direction of retrieval is scored by the same rank engine.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
