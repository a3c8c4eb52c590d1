"""When an answer should be doubted: each sentence rests on something measured in this index."""

import numpy as np

from bimcvr.curation.text.tokens import sentences
from bimcvr.search.index.reader import Index, Stream
from bimcvr.search.query.calibration import ENOUGH
from bimcvr.search.query.highlights import query_stems
from bimcvr.search.query.query_encoding import EncodedQuery

_WORDS = 30


def reliability_notes(
    index: Index, query: EncodedQuery, words: str, highest: float | None, into: Stream
) -> tuple[str, ...]:
    """Return what speaks against trusting an answer.

    Args:
        index: the index.
        query: the encoded query.
        words: the query's text, if it has one.
        highest: the best score over the whole index; None if a filter was set.
        into: what was ranked.
    """
    notes = []
    unknown, asked = unknown_words(index, words)
    if asked and len(unknown) == asked:
        notes.append("None of the query's words stands in any report of this index: its model was not trained on this.")
    elif unknown:
        notes.append(f"In no report of this index: {', '.join(unknown)}.")
    limits = index.commit.calibration.get(f"{query.kind}_{into}", {})
    length = float(np.linalg.norm(query.vector))
    if query.kind == "text" and length > limits.get("longest", np.inf):
        notes.append(
            "The text lies far from what the model was trained on: "
            f"its vector's length is {length:.3g}, and {limits['longest']:.3g} is 1.5 times what 99 of 100 "
            f"{limits['what']} of this index's reports stay below."
        )
    # compared as they are said
    if highest is not None and limits.get("of", 0) >= ENOUGH and round(highest, 3) < round(limits["lowest"], 3):
        notes.append(
            f"The best score, {highest:.3f}, is below {limits['lowest']:.3f}, which 99 of 100 {limits['what']} of this"
            " index reach. The model was probably not trained on what was asked."
        )
    return tuple(notes)


def unknown_words(index: Index, words: str) -> tuple[list[str], int]:
    """Return the telling words that no report holds, and how many telling words there are.

    Of a long text the first 30.
    """
    stems = query_stems(words)
    telling = {
        word.stem: words[word.start : word.end]
        for sentence in sentences(words)
        for word in sentence
        if word.stem in stems
    }
    first = list(telling.values())[:_WORDS]
    return [word for word in first if not index.holds_word(word)], len(first)
