"""For notebooks: a trained model, its vectors, a ranking, an index, a result, each by one call of `bimcvr`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.models.embedder import Embedder
    from bimcvr.search.query.searcher import Searcher

TIE = 1e-6
"""Cosines no further apart than this are tied, as in `evaluate`."""


def load_model(checkpoint: str | Path, device: str | None = None, trust: Sequence[str] = ()) -> "Embedder":
    """Load a trained model from a run's checkpoint.

    Args:
        checkpoint: `checkpoints/best.ckpt` of a run; the run's `config.yaml` says on which grid it was trained.
        device: `cpu`, `cuda` …; a GPU where there is one by default.
        trust: classes, modules or packages of others whose code the checkpoint may run.

    Returns:
        The model. `embed_file` reads a volume file or DICOM folder, `embed_texts` a list of texts.

    Raises:
        UserError: the checkpoint or its config is missing or cannot be read, or names a class that is not trusted.
    """
    from bimcvr.models.embedder import Embedder

    return Embedder(Path(checkpoint), device, trust)


def rank(query: np.ndarray, gallery: np.ndarray, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Rank a gallery for one query by cosine similarity.

    Args:
        query: (E,) vector of a text or a volume.
        gallery: (N, E) vectors of the candidates.
        names: N names of the candidates, such as study ids; their numbers by default.

    Returns:
        N rows, best first, with the columns `rank` (from 1; tied candidates share their mean rank), `name`, `cosine`.

    Raises:
        UserError: the shapes do not fit, or a vector has length zero or is not finite.
    """
    vectors = np.asarray(gallery, dtype=np.float64)
    wanted = np.asarray(query, dtype=np.float64).reshape(-1)
    if vectors.ndim != 2 or vectors.shape[1] != len(wanted) or (names is not None and len(names) != len(vectors)):
        raise UserError(
            f"query {np.shape(query)} and gallery {np.shape(gallery)} do not fit: give (E,) and (N, E), and N names."
        )
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise UserError("A vector has length zero or is not finite: it has no direction to compare.")
    cosine = vectors @ wanted / lengths
    table = pd.DataFrame({"name": list(names) if names is not None else range(len(cosine)), "cosine": cosine})
    table = table.sort_values("cosine", ascending=False, kind="stable", ignore_index=True)
    tied = (-table["cosine"].diff() > TIE).cumsum()
    table.insert(0, "rank", (table.index.to_series() + 1.0).groupby(tied).transform("mean"))
    return table


def open_index(
    folder: str | Path, checkpoint: str | Path | None = None, device: str | None = None, trust: Sequence[str] = ()
) -> "Searcher":
    """Open a search index with the model that it was made with.

    Args:
        folder: made by `bimcvr index`.
        checkpoint: where the model lies now; where the index was made by default. An index made from embeddings
            without a checkpoint answers by study and keyword alone.
        device: where the model runs.
        trust: classes, modules or packages of others whose code the checkpoint may run.

    Returns:
        What answers queries: `text`, `keyword`, `volume`, `study`, `words`.

    Raises:
        UserError: there is no index, or its model is gone or another one.
    """
    from bimcvr.search.index.reader import Index
    from bimcvr.search.query.encoder import load_search_model
    from bimcvr.search.query.searcher import Searcher

    index = Index.open(Path(folder))
    return Searcher(index, load_search_model(index, Path(checkpoint) if checkpoint else None, device, trust=trust))


def read_result(path: str | Path) -> pd.DataFrame:
    """Read a `result.json` of `test` or `evaluate` as a table.

    Args:
        path: the file.

    Returns:
        One row a direction and metric, with the columns `direction`, `metric`, `value`, `low` and `high` (95 % interval
        over patients), `chance`. `attrs` holds what every figure stands under: `split`, `n_queries`, `n_patients`,
        `synthetic`, `rule`, `notes`.

    Raises:
        UserError: there is no such file, or it is no result.
    """
    try:
        result: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        intervals, chance, about = result["intervals"], result["chance"], result["about"]
        rows = [
            (direction, metric, value, *intervals[direction][metric], chance.get(metric))
            for direction in ("text_to_image", "image_to_text")
            for metric, value in result["metrics"][direction].items()
        ]
    except FileNotFoundError:
        raise UserError(f"There is no result at {path}. `bimcvr test` and `bimcvr evaluate --out` write one.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no result of `bimcvr test` or `bimcvr evaluate` ({type(error).__name__})."
        ) from error
    table = pd.DataFrame(rows, columns=["direction", "metric", "value", "low", "high", "chance"])
    table.attrs.update(
        {name: result[name] for name in ("n_queries", "n_patients", "rule", "notes")},
        split=about["split"],
        synthetic=about["synthetic"],
    )
    return table
