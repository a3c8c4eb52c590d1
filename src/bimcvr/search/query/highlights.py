"""Where in a report stands what was asked for."""

import functools
from dataclasses import dataclass
from typing import Literal

from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.text.tokens import sentences
from bimcvr.data.text.stop_words import QUERY_STOP_WORDS

Kind = Literal["word", "present", "absent", "uncertain", "history"]


@dataclass(frozen=True)
class HighlightSpan:
    """A part of a report, `report[start:end]`.

    Attributes:
        start: its first character.
        end: one past its last.
        kind: `word` of the query; or a finding asked for, and what the report says of it: `present`, `absent`,
            `uncertain` or `history`.
    """

    start: int
    end: int
    kind: Kind


def highlight_words(report: str, query: str) -> list[HighlightSpan]:
    """Return where a report has the query's words, plural, gender and accents aside; common words are passed over."""
    stems = query_stems(query)
    return [
        HighlightSpan(word.start, word.end, "word")
        for sentence in sentences(report)
        for word in sentence
        if word.stem in stems
    ]


def query_stems(query: str) -> set[str]:
    """Return the stems of a query's telling words."""
    return {
        word.stem
        for sentence in sentences(query)
        for word in sentence
        if word.text not in QUERY_STOP_WORDS and word.text.isalnum()
    }


def highlight_findings(report: str, label: str, language: str = "") -> list[HighlightSpan]:
    """Return where a report names a finding or a narrower one, and what it says of it."""
    found = extractor()
    return [
        HighlightSpan(mention.start, mention.end, mention.assertion)
        for mention in found(report, language)
        if mention.label == label or label in found.library.ancestors(mention.label)
    ]


@functools.cache
def extractor() -> LabelExtractor:
    """Return the extractor over the project's own keyword library."""
    return LabelExtractor()
