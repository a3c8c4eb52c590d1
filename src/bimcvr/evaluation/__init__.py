"""Evaluation of any model's embeddings against a manifest: reading them, scoring them, and presenting the result.

The names below are imported on first use, so that `import bimcvr.evaluation` loads no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
