"""Whether a search index is whole: what `index.json` says, and every vector that counts."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bimcvr.doctor.check_result import CheckResult
from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.search.index.reader import Index

_AGAIN = "Make it again in another folder: `python -m bimcvr index …`."
_LENGTH = 1e-3
"""How far a stored vector's length may be from 1."""
_ROWS = 65536


def check_index(folder: Path) -> CheckResult:
    """Check that a search index opens, that its rows match its vectors, and that every vector can be ranked."""
    try:
        from bimcvr.search.index.reader import Index

        with Index.open(folder) as opened:
            wrong = (
                _count_fault(opened)
                or _prompts_fault(opened)
                or _vector_fault(opened, "image")
                or _vector_fault(opened, "text")
            )
            keywords = len(opened.prompts.labels) if opened.prompts else 0
            studies, complete, model = len(opened), opened.commit.complete, opened.facts.get("checkpoint", "")
    except UserError as error:
        return CheckResult("failing", "index", "does not open", str(error))
    except Exception as error:  # Lance has its own for damaged files
        return CheckResult("failing", "index", f"{folder} is damaged ({type(error).__name__})", _AGAIN)
    if wrong:
        return CheckResult("failing", "index", f"{folder}: {wrong}", _AGAIN)
    found = f"{folder}: {studies} studies, {keywords} keywords, rows and vectors in step"
    if not complete:
        return CheckResult(
            "warning",
            "index",
            f"{found}, but its last run did not come to its end",
            "Run the same `index` again: it resumes.",
        )
    if model and not Path(model).is_file():
        return CheckResult(
            "warning",
            "index",
            f"{found}, but its model {model} is not there: no text or volume can be asked",
            "Put it back, or name where it lies now: `search` and `serve` take --checkpoint FILE.",
        )
    return CheckResult("ok", "index", found)


def _count_fault(opened: "Index") -> str:
    commit, slots = opened.commit, opened.image.slot
    if commit.count != len(opened):
        return f"index.json says {commit.count} studies, the rows are {len(opened)}"
    if len(slots) and (slots[0] < 0 or slots[-1] >= commit.slots):
        return f"a row's vector is the {slots[-1]}th of {commit.slots}"
    if len(np.unique(slots)) < len(slots):
        return "two rows have the same vector"
    return ""


def _prompts_fault(opened: "Index") -> str:
    if opened.prompts is None:
        return ""
    vectors = opened.prompts.vector.numpy()
    if vectors.shape != (len(opened.prompts.sentence), opened.commit.dim) or not np.isfinite(vectors).all():
        return "the vectors of the keywords' prompts are of another width, or not finite"
    return ""


def _vector_fault(opened: "Index", stream: str) -> str:
    """Read the vectors that belong to a study, block by block."""
    vectors = opened.image if stream == "image" else opened.text
    for start in range(0, len(vectors.slot), _ROWS):
        length = np.linalg.norm(vectors.values[vectors.slot[start : start + _ROWS]].astype(np.float64), axis=1)
        bad = np.flatnonzero(~(np.abs(length - 1) <= _LENGTH))  # so asked, NaN is bad
        if len(bad):
            return (
                f"the {stream} vector of study {opened.study_ids[start + bad[0]]} has the length {length[bad[0]]:.3g},"
                " not 1"
            )
    return ""
