"""Notes on how far results can be trusted; each rests on something measured in this index."""

from collections.abc import Sequence

import numpy as np

from bimcvr.search.asked.findings import Asked
from bimcvr.search.asked.parsed_query import ParsedQuery
from bimcvr.search.index.filters import parse_where
from bimcvr.search.index.reader import Index, Stream
from bimcvr.search.query.calibration import ENOUGH
from bimcvr.search.query.measured import MeasuredLabel
from bimcvr.search.query.query_encoding import EncodedQuery
from bimcvr.suggest import nearest

_CHECKED_WORDS = 30
"""How many words of a long query are looked up."""


def reliability_notes(
    index: Index, encoded: EncodedQuery, query: ParsedQuery | None, best_score: float | None, into: Stream
) -> tuple[str, ...]:
    """Return reasons to distrust the results of a query by vectors.

    Args:
        index: the index.
        encoded: the query's vector.
        query: the query's words, if it has a text.
        best_score: the best score over the whole index; None if a filter was set.
        into: what was ranked.

    Returns:
        Sentences for the reader; none if nothing speaks against the results.
    """
    notes = [*encoded.notes]
    unknown, checked = unknown_words(index, query) if query is not None else ([], 0)
    if checked and len(unknown) == checked:
        notes.append("None of the query's words occurs in any report of this index: its model was not trained on this.")
    elif unknown:
        notes.append(f"Words that occur in no report of this index: {', '.join(unknown)}.")
    limits = index.commit.calibration.get(f"{encoded.kind}_{into}", {})
    length = float(np.linalg.norm(encoded.vector))
    if encoded.kind == "text" and length > limits.get("longest", np.inf):
        notes.append(
            "The text is far from what the model was trained on: "
            f"the length of its vector is {length:.3g}; the limit is {limits['longest']:.3g}, 1.5 times the 99th"
            f" percentile over {limits['what']} of this index's reports."
        )
    # compared with the digits that are printed
    if best_score is not None and limits.get("of", 0) >= ENOUGH and round(best_score, 3) < round(limits["lowest"], 3):
        notes.append(
            f"The best score, {best_score:.3f}, is below {limits['lowest']:.3f}, which 99 of 100 {limits['what']} of"
            " this index reach. The model was probably not trained on what the query describes."
        )
    return tuple(notes)


def unknown_words(index: Index, query: ParsedQuery) -> tuple[list[str], int]:
    """Look the query's informative words up in the reports; of a long query the first 30.

    Args:
        index: the index.
        query: the parsed query.

    Returns:
        The words that occur in no report, and how many were looked up.
    """
    words = query.informative_words[:_CHECKED_WORDS]
    return [word for word in words if not index.has_word(word)], len(words)


def chance_note(measured: MeasuredLabel | None, label: str, hybrid: bool) -> tuple[str, ...]:
    """Return the note on a finding that the model has not been shown to find in volumes; empty for any other.

    Args:
        measured: what `index` has measured of the label, if anything.
        label: the label.
        hybrid: whether the reports' words were ranked too.
    """
    if measured is None or measured.better_than_chance:
        return ()
    what = (
        " What comes first does so by its report."
        if hybrid
        else " Nothing here is a reason to believe that a case has it."
    )
    return (measured.sentence(label) + what,)


def contrary_note(asked: Asked, count: int) -> tuple[str, ...]:
    """Return the note on reports that contain a query's words and contradict it; empty where there are none.

    Args:
        asked: what the query asks of findings.
        count: how many they are.
    """
    if not count:
        return ()
    found = ", ".join(sorted(asked.present)) or f"the absence of {', '.join(sorted(asked.absent))}"
    return (f"{count} reports contain words of the query but do not state {found}: they are left out.",)


def unfinished_note(index: Index) -> tuple[str, ...]:
    """Return the note on an index whose last `index` run did not finish; empty for a finished one."""
    if index.commit.complete:
        return ()
    return (f"This index is unfinished ({len(index):,} studies so far): run `index` again.",)


def empty_filter_note(index: Index, where: str | Sequence[str]) -> str:
    """Explain why no study passes a filter, with the nearest label where the filter names an unknown one.

    Args:
        index: the index.
        where: the filter, as `filters.parse_where` takes it.

    Returns:
        One sentence, or two.
    """
    known = {label.casefold(): label for label in index.label_counts()}
    for condition in parse_where(where, index.columns):
        if (condition.column, condition.operator) == ("labels", "=") and condition.value not in known.values():
            match = nearest(condition.value.casefold(), known)
            hint = f" Did you mean '{known[match]}'?" if match else ""
            return f"No study of this index has the label '{condition.value}'.{hint}"
    return "No study of this index passes the filter."


def no_match_note(index: Index, query: ParsedQuery, where: str | Sequence[str], allowed: np.ndarray | None) -> str:
    """Explain why a query by words found no report.

    Args:
        index: the index.
        query: the parsed query.
        where: the filter.
        allowed: (N,) bool, the studies that pass it; None if there is none.

    Returns:
        One sentence, or two.
    """
    if allowed is not None and not allowed.any():
        return empty_filter_note(index, where)
    if query.has_only_stop_words:
        return f"These words are too common to be searched: {query.text.strip()[:60]}"
    return "No report of this index contains any of these words."
