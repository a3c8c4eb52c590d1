from .embeddings import Embeddings, load_arrays, load_embeddings, save_embeddings
from .html_page import write_page
from .result import Resampling, build_result
from .text_table import format_result

__all__ = [
    "Embeddings",
    "Resampling",
    "build_result",
    "format_result",
    "load_arrays",
    "load_embeddings",
    "save_embeddings",
    "write_page",
]
