"""Embeddings on disk: the format in which any model's output is evaluated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bimcvr.atomic_files import replacing
from bimcvr.contracts import Probes, Prompts
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.numpy_files import UnreadableArrays, read_npy, read_npz
from bimcvr.data.text_table import BadRow, read_text_table
from bimcvr.data.trained_rows import TrainedRows
from bimcvr.errors import UserError
from bimcvr.metrics.ranking.unit_vectors import UnitVectors

_TRUTH = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


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
    """

    study_id: list[str]
    image: Tensor
    text: Tensor
    prompts: Prompts | None = None
    probes: Probes | None = None
    trained: TrainedRows | None = None
    seen: np.ndarray | None = None
    grid: ModelGrid | None = None

    def only(self, rows: list[int]) -> "Embeddings":
        """Return the embeddings of some rows, in the given order; what is not about rows stays as it is."""
        return replace(
            self,
            study_id=[self.study_id[row] for row in rows],
            image=self.image[rows],
            text=self.text[rows],
            seen=None if self.seen is None else self.seen[rows],
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
        _names(arrays["study_id"], f"{path}: 'study_id'"), arrays["image"], arrays["text"], str(path)
    )
    width = embeddings.image.shape[1]
    trained, seen = _trained(arrays, path)
    return replace(
        embeddings,
        prompts=_prompts(arrays, width, path),
        probes=_probes(arrays, width, path),
        trained=trained,
        seen=seen,
        grid=_grid(arrays, path),
    )


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
        _scorable(table, name, where, lambda row: f"study {study_id[row]}")
        for name, table in (("image", image), ("text", text))
    ]
    return Embeddings(study_id, image=vectors[0], text=vectors[1])


def _prompts(arrays: dict[str, np.ndarray], width: int, path: Path) -> Prompts | None:
    if "prompt_embedding" not in arrays:
        return None
    vector = _vectors(arrays, "prompt_embedding", ("prompt", "prompt_label"), width, path)
    denies = arrays.get("prompt_denies", np.zeros(len(vector), dtype=bool))
    if denies.shape != (len(vector),):
        raise UserError(f"{path}: prompt_denies has the shape {denies.shape}, not ({len(vector)},).")
    answers = [value.strip().lower() for value in _names(denies, f"{path}: 'prompt_denies'")]
    if not set(answers) <= _TRUTH.keys():
        odd = next(value for value in answers if value not in _TRUTH)
        raise UserError(
            f"{path}: prompt_denies holds '{odd[:20]}'; it says of each prompt whether it denies: False or True, 0"
            " or 1."
        )
    sentence, label = (_names(arrays[name], f"{path}: '{name}'") for name in ("prompt", "prompt_label"))
    return Prompts(sentence, label, [_TRUTH[value] for value in answers], vector)


def _trained(arrays: dict[str, np.ndarray], path: Path) -> tuple[TrainedRows | None, np.ndarray | None]:
    if "seen" not in arrays:
        return None, None
    seen, studies = arrays["seen"], arrays["study_id"]
    hashes = {name.removeprefix("trained_"): table for name, table in arrays.items() if name.startswith("trained_")}
    try:
        if seen.shape != studies.shape or seen.dtype != np.uint8 or any(table.ndim != 1 for table in hashes.values()):
            raise ValueError
        return TrainedRows.from_arrays(hashes), seen
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: 'seen' and the arrays 'trained_…', which say what the model was trained on, are not as `predict`"
            " writes them. Write the file anew."
        ) from error


def _grid(arrays: dict[str, np.ndarray], path: Path) -> ModelGrid | None:
    if "grid_size" not in arrays:
        return None
    try:
        depth, height, width = map(int, arrays["grid_size"])
        spacing, centres = arrays["grid_spacing"].astype(np.float64).tolist(), arrays["grid_centre"].tolist()
        return ModelGrid((depth, height, width), tuple(spacing) if spacing else None, *centres)
    except (KeyError, ValueError, TypeError, UserError) as error:
        raise UserError(
            f"{path}: the arrays 'grid_…', which say on which grid the volumes were, are not as `predict` writes them:"
            " grid_size (3,), grid_spacing (3,) or (0,), grid_centre (1,). Write the file anew."
        ) from error


def _probes(arrays: dict[str, np.ndarray], width: int, path: Path) -> Probes | None:
    if "probe_embedding" not in arrays:
        return None
    vector = _vectors(arrays, "probe_embedding", ("probe_study", "probe_kind"), width, path)
    study, kind = (_names(arrays[name], f"{path}: '{name}'") for name in ("probe_study", "probe_kind"))
    return Probes(study, kind, vector)


def _vectors(arrays: dict[str, np.ndarray], name: str, beside: tuple[str, ...], width: int, path: Path) -> Tensor:
    table = arrays[name]
    for other in beside:
        if other not in arrays or arrays[other].shape != table.shape[:1]:
            raise UserError(f"{path}: '{name}' {table.shape} needs '{other}' beside it, one a row.")
    if table.ndim != 2 or table.shape[1] != width:
        raise UserError(
            f"{path}: '{name}' has the shape {table.shape}, not (…, {width}): prompts, reports and volumes share one"
            " space."
        )
    return _scorable(table, name.split("_")[0], str(path))


def _scorable(table: np.ndarray, name: str, where: str, row_name: Callable[[int], str] = "row {}".format) -> Tensor:
    """Return vectors that can be scored, as float32, from any byte order."""
    try:
        vectors = torch.from_numpy(np.ascontiguousarray(table, dtype=table.dtype.newbyteorder("=")))
        UnitVectors(vectors, name, torch.device("cpu"), row_name)
    except TypeError as error:
        raise UserError(
            f"{where}: the {name} embeddings are {table.dtype}, not floats: save them as float32"
        ) from error
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return vectors.float()


def _array(path: Path, content: str) -> np.ndarray:
    try:
        return read_npy(path)
    except UnreadableArrays as error:
        raise UserError(
            f"{path} is not an .npy file of {content} ({error}). Save the one array with numpy.save."
        ) from error


def _names(array: np.ndarray, what: str) -> list[str]:
    """Return a column of names; bytes are read as UTF-8."""
    if array.ndim != 1:
        raise UserError(
            f"{what} has the shape {array.shape}. It needs one name a row, (N,): pass it through numpy.ravel."
        )
    try:
        return [name.decode() if isinstance(name, bytes) else str(name) for name in array.tolist()]
    except UnicodeDecodeError as error:
        raise UserError(f"{what} holds bytes that are not UTF-8. Save it as text (dtype str).") from error


def _ids(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(
            f"There is no list of study ids at {path}: a .csv with a column study_id, a .txt with one a line, or an"
            " .npy."
        )
    if path.suffix == ".npy":
        return _names(_array(path, "plain text"), str(path))
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
