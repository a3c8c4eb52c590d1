"""Whether a search index is whole: all that a search reads of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from bimcvr.doctor.check_result import CheckResult
from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.search.index.reader import Index

_AGAIN = "Make it again in another folder: `python -m bimcvr index …`."
_ROWS = 1024


def check_index(folder: Path) -> CheckResult:
    """Check that a search index opens, that its rows match its vectors, and that every vector can be ranked."""
    try:
        from bimcvr.search.index.reader import Index

        with Index.open(folder) as opened:
            _read_all(opened)
            keywords = len(opened.prompts.labels) if opened.prompts else 0
            studies, complete, model = len(opened), opened.commit.complete, opened.facts.get("checkpoint", "")
    except UserError as error:
        return CheckResult("failing", "index", str(error), _AGAIN)
    except Exception as error:  # Lance has its own for damaged files
        return CheckResult("failing", "index", f"{folder} is damaged ({type(error).__name__})", _AGAIN)
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


def _read_all(opened: "Index") -> None:
    """Read all that a search can read: vectors, prompts, each row, and the index of words.

    Raises:
        UserError: something is damaged.
    """
    for vectors in (opened.image, opened.text):
        if vectors.values.shape[1] != opened.commit.dim:
            raise UserError(f"its vectors are not of the width {opened.commit.dim} that index.json says")
    opened.commit.check_vectors(opened.folder)
    if opened.prompts is not None and opened.prompts.vector.shape[1] != opened.commit.dim:
        raise UserError("the vectors of the keywords' prompts are of another width")
    for start in range(0, len(opened), _ROWS):
        for study in opened.rows(range(start, min(start + _ROWS, len(opened)))):
            opened.thumbnails(study.study_id)
    if len(opened):
        first = next((word for word in opened.rows([0])[0].report.split() if word.isalpha() and len(word) > 5), "")
        opened.word_ranks(first or "a")
