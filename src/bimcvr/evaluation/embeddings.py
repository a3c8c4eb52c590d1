"""Embeddings on disk: the format in which any model's output is evaluated."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bimcvr.atomic_files import replacing
from bimcvr.contracts import Located, Probes, Prompts
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.numpy_files import UnreadableArrays, read_npy, read_npz
from bimcvr.data.text_table import BadRow, read_text_table
from bimcvr.data.trained_rows import TrainedRows
from bimcvr.errors import UserError
from bimcvr.evaluation.array_checks import names_of, scorable
from bimcvr.evaluation.optional_arrays import optional_arrays


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of N studies, and optionally those of prompts and of changed reports.

    Attributes:
        study_id: N names.
        image: (N, E) float32, of the volumes.
        text: (N, E) float32, of the whole reports.
        prompts: For keyword and zero-shot metrics.
        probes: For counterfactual probes.
        trained: the rows that the model was trained on, where that is known.
        seen: (N,) uint8, what the model has seen of each study (`bimcvr.data.trained_rows`), as far as it is known.
        grid: the grid that the volumes were on, where that is known.
        reports: (N,) int64, hashes of the reports that were embedded (`report_hashes`), where they are known.
        provenance: what made the file, where it says so: encoders, their receipts, checkpoint, manifest, versions.
        located: how maps of relevance agree with the places of findings, where `test` has measured it.
    """

    study_id: list[str]
    image: Tensor
    text: Tensor
    prompts: Prompts | None = None
    probes: Probes | None = None
    trained: TrainedRows | None = None
    seen: np.ndarray | None = None
    grid: ModelGrid | None = None
    reports: np.ndarray | None = None
    provenance: dict[str, Any] | None = None
    located: Located | None = None

    def only(self, rows: list[int]) -> "Embeddings":
        """Return the embeddings of some rows, in the given order; what is not about rows stays as it is."""
        return replace(
            self,
            study_id=[self.study_id[row] for row in rows],
            image=self.image[rows],
            text=self.text[rows],
            seen=None if self.seen is None else self.seen[rows],
            reports=None if self.reports is None else self.reports[rows],
        )


def save_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write an `.npz` file without pickles, whole or not at all.

    Args:
        path: the file.
        embeddings: what it holds.
    """
    arrays = {
        "study_id": _texts(embeddings.study_id),
        "image": embeddings.image.numpy(),
        "text": embeddings.text.numpy(),
    }
    if embeddings.prompts is not None:
        prompts = embeddings.prompts
        arrays |= {
            "prompt": _texts(prompts.sentence),
            "prompt_label": _texts(prompts.label),
            "prompt_denies": np.array(prompts.denies, dtype=bool),
            "prompt_embedding": prompts.vector.numpy(),
        }
    if embeddings.probes is not None:
        probes = embeddings.probes
        arrays |= {
            "probe_study": _texts(probes.study_id),
            "probe_kind": _texts(probes.kind),
            "probe_embedding": probes.vector.numpy(),
        }
    if embeddings.trained is not None and embeddings.seen is not None:
        arrays |= {f"trained_{name}": hashes for name, hashes in embeddings.trained.arrays().items()}
        arrays["seen"] = embeddings.seen
    if embeddings.grid is not None:
        grid = embeddings.grid
        arrays |= {
            "grid_size": np.array(grid.size),
            "grid_spacing": np.array(grid.spacing or (), dtype=np.float64),
            "grid_centre": _texts([grid.centre]),
        }
    if embeddings.reports is not None:
        arrays["report_hash"] = embeddings.reports
    if embeddings.provenance is not None:
        arrays["provenance"] = _texts([json.dumps(embeddings.provenance, ensure_ascii=False)])
    if embeddings.located is not None:
        located = embeddings.located
        arrays |= {
            "located_study": _texts(located.study_id),
            "located_finding": _texts(located.finding),
            "located_scores": located.scores,
            "located_how": _texts([located.how]),
            "located_token_mm": np.array(located.token_mm),
            "located_diameter": located.diameter,
        }
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def load_embeddings(path: Path) -> Embeddings:
    """Read an `.npz` file; pickled content is refused.

    Args:
        path: the file, as `test`, `predict` or `save_embeddings` writes it.

    Raises:
        UserError: The file is missing or not an .npz of plain arrays, a required array is missing or has a wrong shape,
            a study is named twice, or vectors cannot be scored (not finite, all zero, no floats).
    """
    if not path.is_file():
        raise UserError(f"There are no embeddings at {path}. `python -m bimcvr test` and `predict` write them.")
    try:
        arrays = read_npz(path)
    except UnreadableArrays as error:
        raise UserError(
            f"{path} is not an .npz file of plain arrays ({error}). Write it with numpy.savez, names as fixed-width"
            " text (dtype str), nothing as objects: pickles are refused. A single array? Name it .npy, with"
            " --text_embeddings and --study_ids beside it."
        ) from error
    for name in ("study_id", "image", "text"):
        if name not in arrays:
            raise UserError(
                f"{path} has no array '{name}'. Embeddings need study_id (N,), image (N, E) and text (N, E)."
            )
    embeddings = validated_embeddings(
        names_of(arrays["study_id"], f"{path}: 'study_id'"), arrays["image"], arrays["text"], str(path)
    )
    return replace(embeddings, **optional_arrays(arrays, embeddings.image.shape[1], path))


def load_arrays(image: Path, text: Path, ids: Path) -> Embeddings:
    """Read two `.npy` arrays and a list of study ids.

    Args:
        image: An `.npy` array (N, E) of the volumes.
        text: An `.npy` array (N, E) of the reports.
        ids: Their N study ids: a `.csv` with a column study_id, a `.txt` with one id a line, or an `.npy`.

    Raises:
        UserError: As `load_embeddings`.
    """
    return validated_embeddings(_ids(ids), _array(image, "numbers"), _array(text, "numbers"), f"{image}, {text}, {ids}")


def validated_embeddings(study_id: list[str], image: np.ndarray, text: np.ndarray, where: str) -> Embeddings:
    """Return embeddings that can be scored.

    Raises:
        UserError: Shapes do not match, a study appears twice, or vectors are not finite, all zero or no floats.
    """
    count = len(study_id)
    if image.ndim != 2 or image.shape != text.shape or len(image) != count:
        raise UserError(
            f"{where}: image {image.shape} and text {text.shape} are not both ({count}, E) for its {count} study_id."
            " Both streams need one vector a study, of one width."
        )
    if not count:
        raise UserError(f"{where} holds no study.")
    if len(set(study_id)) < count:
        twice = next(name for row, name in enumerate(study_id) if name in study_id[:row])
        raise UserError(
            f"{where}: the study_id '{twice}' appears more than once ({count - len(set(study_id))} repeated in all)."
            " Keep one row a study: repeated rows would be scored as ties."
        )
    vectors = [
        scorable(table, name, where, lambda row: f"study {study_id[row]}")
        for name, table in (("image", image), ("text", text))
    ]
    return Embeddings(study_id, image=vectors[0], text=vectors[1])


def _array(path: Path, content: str) -> np.ndarray:
    try:
        return read_npy(path)
    except UnreadableArrays as error:
        raise UserError(
            f"{path} is not an .npy file of {content} ({error}). Save the one array with numpy.save."
        ) from error


def _ids(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(
            f"There is no list of study ids at {path}: a .csv with a column study_id, a .txt with one a line, or an"
            " .npy."
        )
    if path.suffix == ".npy":
        return names_of(_array(path, "plain text"), str(path))
    try:
        if path.suffix != ".csv":
            return [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
        table = read_text_table(path, ("study_id",))
        if table.guessed_encoding:
            raise ValueError(f"it seems to be {table.guessed_encoding}")
    except ValueError as error:  # not UTF-8, or no table
        raise UserError(
            f"{path} is not a list of study ids ({type(error).__name__}: {error}). Save it as UTF-8: a .csv with a"
            " column study_id, or one id a line."
        ) from error
    if table.columns.count("study_id") != 1:
        raise UserError(f"{path} needs one column 'study_id'; it has {', '.join(table.columns)}.")
    position = table.columns.index("study_id")
    cut = [BadRow(line, "has no study_id") for line, cells in table.rows if len(cells) <= position]
    for row in [*table.bad_rows, *cut]:
        # a row that is left out would shift all rows of the arrays after it
        raise UserError(f"{path}, line {row.line} {row.problem}.")
    return [cells[position].strip() for _, cells in table.rows]


def _texts(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=np.str_)
