from .extractor import LabelExtractor as LabelExtractor

__all__ = ["LabelExtractor"]
