from .notebook import load_model as load_model
from .notebook import open_index as open_index
from .notebook import rank as rank
from .notebook import read_result as read_result

__all__ = ["load_model", "open_index", "rank", "read_result"]
__version__: str
