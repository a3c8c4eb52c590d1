"""Which parts of a report match a query, to be highlighted."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from bimcvr.curation.text.tokens import sentences
from bimcvr.search.query.labels import label_extractor

Kind = Literal["word", "present", "absent", "uncertain", "history"]


@dataclass(frozen=True)
class HighlightSpan:
    """A part of a report, `report[start:end]`.

    Attributes:
        start: its first character.
        end: one past its last character.
        kind: `word` for a word of the query; for a finding, what the report asserts of it: `present`, `absent`,
            `uncertain` or `history`.
    """

    start: int
    end: int
    kind: Kind


def highlight_words(report: str, stems: Set[str]) -> list[HighlightSpan]:
    """Return where a report has the words of a query, whatever their plural, gender and accents.

    Args:
        report: the report.
        stems: the stems of the query's words, `ParsedQuery.stems`.

    Returns:
        The spans, in the order of the report.
    """
    if not stems:
        return []
    words = (word for sentence in sentences(report) for word in sentence)
    return [HighlightSpan(word.start, word.end, "word") for word in words if word.stem in stems]


def highlight_findings(report: str, label: str, language: str = "") -> list[HighlightSpan]:
    """Return where a report mentions a finding or a narrower one, and what it asserts of it.

    Args:
        report: the report.
        label: the finding, a label of the keyword library.
        language: of the report: `en`, `es`, or empty for both.

    Returns:
        The spans, in the order of the report.
    """
    extractor = label_extractor()
    return [
        HighlightSpan(mention.start, mention.end, mention.assertion)
        for mention in extractor(report, language)
        if mention.label == label or label in extractor.library.ancestors(mention.label)
    ]
