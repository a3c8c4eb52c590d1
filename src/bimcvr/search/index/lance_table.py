"""The few calls of LanceDB that the index is made of."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bimcvr.errors import UserError
from bimcvr.search.index.commit import TABLE

_ALL = 1_000_000_000
_ROWS = 1024  # written at a time: their pictures take some 50 MB


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
        raise UserError(
            f"The rows of the index {folder} cannot be opened ({type(error).__name__}). Make the index anew in another "
            "folder."
        ) from error
    return table


def index_words(table: Any) -> None:
    """Make the full-text index of the reports."""
    from lancedb.index import FTS

    table.create_index("report", config=FTS(stem=True, ascii_folding=True, remove_stop_words=True, with_position=False))


def rewrite_rows(table: Any, slot: str, slots: np.ndarray) -> None:
    """Write all rows, and the full-text index, anew as versions of their own.

    A deleted row only goes with the file that it is in.

    Args:
        table: the table.
        slot: its column of slots.
        slots: (N,) int64 ascending, those of the rows; each becomes its place among them.
    """
    import pyarrow as pa

    schema = table.schema

    def moved() -> Iterator[Any]:
        for batch in table.search().select(schema.names).limit(_ALL).to_batches(_ROWS):
            columns = {name: batch.column(name) for name in schema.names}
            columns[slot] = pa.array(np.searchsorted(slots, columns[slot].to_numpy()), pa.int64())
            yield pa.record_batch(columns, schema=schema)

    table.add(pa.RecordBatchReader.from_batches(schema, moved()), mode="overwrite")
    index_words(table)


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
