"""The few calls of LanceDB that the index is made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bimcvr.errors import UserError
from bimcvr.search.commit import TABLE

_ALL = 1_000_000_000


def open_table(folder: Path, version: int | None = None) -> Any:
    """Open the rows of an index folder, at a version or the newest.

    Raises:
        UserError: they cannot be opened.
    """
    import lancedb

    try:
        table = lancedb.connect(str(folder)).open_table(TABLE)
        if version is not None:
            table.checkout(version)
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(f"The rows of the index {folder} cannot be opened ({type(error).__name__}). Make the index anew in another "
                        "folder.") from error
    return table


def read_columns(table: Any, columns: Sequence[str], with_row_id: bool = False) -> Any:
    """Return columns of all rows as an arrow table, in no particular order."""
    query = table.search().select(list(columns)).limit(_ALL)
    return (query.with_row_id(True) if with_row_id else query).to_arrow()


def word_scores(table: Any, words: str, slot: str, most: int = _ALL) -> Any:
    """Return slot and BM25 score of the reports that hold some of the words, at most the best `most`.

    The words are data of a match query, never parsed as a query language.
    """
    from lancedb.query import MatchQuery

    return table.search(MatchQuery(words, "report"), query_type="fts").select([slot, "_score"]).limit(most).to_arrow()
