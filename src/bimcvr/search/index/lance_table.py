"""The LanceDB calls behind an index: opening, writing and reading its table of studies."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bimcvr.errors import UserError, without_addresses
from bimcvr.search.index.commit import TABLE

_ALL = 1_000_000_000
# rows that are written at a time: their thumbnails take some 50 MB
_ROWS = 1024


def open_table(folder: Path, version: int | None = None) -> Any:
    """Open the table of an index folder.

    Args:
        folder: the index folder.
        version: of the table; the newest if None.

    Returns:
        The LanceDB table.

    Raises:
        UserError: it cannot be opened.
    """
    import lancedb

    try:
        table = lancedb.connect(str(folder)).open_table(TABLE)
        if version is not None:
            table.checkout(version)
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"The table of the index {folder} cannot be opened ({type(error).__name__}). Make a new index in another "
            "folder."
        ) from error
    return table


@contextlib.contextmanager
def telling_damage(folder: Path) -> Iterator[None]:
    """Replace what LanceDB raises on damaged or unreadable files by one message that names the index.

    Args:
        folder: the index folder.

    Raises:
        UserError: a file of the table is damaged, absent or may not be read.
    """
    try:
        yield
    except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
        reason = without_addresses(" ".join(str(error).split()))[:200]
        raise UserError(
            f"The table of the index {folder} cannot be read ({type(error).__name__}: {reason}): a file of it is"
            " damaged, absent or may not be read. Make a new index in another folder."
        ) from error


def index_words(table: Any) -> None:
    """Build the full-text index over the reports."""
    from lancedb.index import FTS

    table.create_index("report", config=FTS(stem=True, ascii_folding=True, remove_stop_words=True, with_position=False))


def rewrite_rows(table: Any, slot: str, slots: np.ndarray) -> None:
    """Rewrite all rows and rebuild the full-text index, as new versions of the table.

    Only this removes deleted rows from the disk: they are erased with the files that contain them.

    Args:
        table: the LanceDB table.
        slot: the name of its slot column.
        slots: (N,) int64 ascending, the slots of the rows; each is replaced by its position in this array.
    """
    import pyarrow as pa

    schema = table.schema

    def renumbered() -> Iterator[Any]:
        for batch in table.search().select(schema.names).limit(_ALL).to_batches(_ROWS):
            columns = {name: batch.column(name) for name in schema.names}
            columns[slot] = pa.array(np.searchsorted(slots, columns[slot].to_numpy()), pa.int64())
            yield pa.record_batch(columns, schema=schema)

    table.add(pa.RecordBatchReader.from_batches(schema, renumbered()), mode="overwrite")
    index_words(table)


def read_columns(table: Any, columns: Sequence[str], with_row_id: bool = False) -> Any:
    """Return columns of all rows as an arrow table, in no particular order."""
    query = table.search().select(list(columns)).limit(_ALL)
    return (query.with_row_id(True) if with_row_id else query).to_arrow()


def word_scores(table: Any, words: str, slot: str, most: int = _ALL) -> Any:
    """Return the reports that contain any of some words, by BM25 score.

    The words are data of a match query; they are never parsed as a query language.

    Args:
        table: the LanceDB table.
        words: the words.
        slot: the name of the slot column.
        most: how many reports to return at most.

    Returns:
        An arrow table with the slots and `_score`.
    """
    from lancedb.query import MatchQuery

    return table.search(MatchQuery(words, "report"), query_type="fts").select([slot, "_score"]).limit(most).to_arrow()
