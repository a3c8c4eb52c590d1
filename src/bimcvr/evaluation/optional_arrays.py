"""What a file of embeddings may hold beside its vectors: prompts, probes, and what it says of itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bimcvr.contracts import LOCATED, Located, Probes, Prompts
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.trained_rows import TrainedRows
from bimcvr.errors import UserError
from bimcvr.evaluation.array_checks import names_of, scorable

_TRUTH = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


def optional_arrays(arrays: dict[str, np.ndarray], width: int, path: Path) -> dict[str, Any]:
    """Return the optional attributes of `Embeddings` that a file has, by name.

    Args:
        arrays: All arrays of the file.
        width: E, the width of its vectors.
        path: The file, for messages.

    Raises:
        UserError: One has a wrong shape, type or content.
    """
    trained, seen = _trained(arrays, path)
    return {
        "prompts": _prompts(arrays, width, path),
        "probes": _probes(arrays, width, path),
        "trained": trained,
        "seen": seen,
        "grid": _grid(arrays, path),
        "reports": _reports(arrays, path),
        "provenance": _provenance(arrays, path),
        "located": _located(arrays, path),
    }


def _prompts(arrays: dict[str, np.ndarray], width: int, path: Path) -> Prompts | None:
    if "prompt_embedding" not in arrays:
        return None
    vector = _vectors(arrays, "prompt_embedding", ("prompt", "prompt_label"), width, path)
    denies = arrays.get("prompt_denies", np.zeros(len(vector), dtype=bool))
    if denies.shape != (len(vector),):
        raise UserError(f"{path}: prompt_denies has the shape {denies.shape}, not ({len(vector)},).")
    answers = [value.strip().lower() for value in names_of(denies, f"{path}: 'prompt_denies'")]
    if not set(answers) <= _TRUTH.keys():
        odd = next(value for value in answers if value not in _TRUTH)
        raise UserError(
            f"{path}: prompt_denies holds '{odd[:20]}'; it says of each prompt whether it denies: False or True, 0"
            " or 1."
        )
    sentence, label = (names_of(arrays[name], f"{path}: '{name}'") for name in ("prompt", "prompt_label"))
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


def _reports(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray | None:
    hashes = arrays.get("report_hash")
    if hashes is not None and (hashes.dtype != np.int64 or hashes.shape != arrays["study_id"].shape):
        raise UserError(
            f"{path}: 'report_hash' is {hashes.dtype} {hashes.shape}, not one int64 a study. Write the file anew, or"
            " leave that array out."
        )
    return hashes


def _provenance(arrays: dict[str, np.ndarray], path: Path) -> dict[str, Any] | None:
    if "provenance" not in arrays:
        return None
    try:
        (text,) = names_of(arrays["provenance"], f"{path}: 'provenance'")
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is no mapping")
        return content
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: 'provenance' is not the JSON text that `embed` and `predict` write ({type(error).__name__})."
            " Write the file anew, or leave that array out."
        ) from error


def _probes(arrays: dict[str, np.ndarray], width: int, path: Path) -> Probes | None:
    if "probe_embedding" not in arrays:
        return None
    vector = _vectors(arrays, "probe_embedding", ("probe_study", "probe_kind"), width, path)
    study, kind = (names_of(arrays[name], f"{path}: '{name}'") for name in ("probe_study", "probe_kind"))
    return Probes(study, kind, vector)


def _located(arrays: dict[str, np.ndarray], path: Path) -> Located | None:
    if "located_scores" not in arrays:
        return None
    try:
        scores = arrays["located_scores"].astype(np.float64)
        study, finding = (names_of(arrays[f"located_{name}"], str(path)) for name in ("study", "finding"))
        (how,) = names_of(arrays["located_how"], str(path))
        up, back, across = arrays["located_token_mm"].astype(np.float64).tolist()
        diameter = np.asarray(arrays.get("located_diameter", np.full(len(study), np.nan)), dtype=np.float64)
        shares = scores[~np.isnan(scores)]
        if (
            scores.shape != (len(study), len(LOCATED))
            or len(finding) != len(study)
            or (abs(shares - 0.5) > 0.5).any()
            or diameter.shape != (len(study),)
        ):
            raise ValueError
        return Located(study, finding, scores, how, (up, back, across), diameter)
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: the arrays 'located_…', which say how maps agree with the places of findings, are not as `test`"
            " writes them. Write the file anew, or leave these arrays out."
        ) from error


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
    return scorable(table, name.split("_")[0], str(path))
