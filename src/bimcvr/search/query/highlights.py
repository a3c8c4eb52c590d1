"""Which parts of a report match a query, to be highlighted: a denial is never marked as a match."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bimcvr.curation.labels.extractor import Mention
from bimcvr.curation.text.tokens import Word, sentences
from bimcvr.search.asked.findings import NOTHING, Asked
from bimcvr.search.asked.labels import label_extractor
from bimcvr.search.asked.parsed_query import ParsedQuery

Kind = Literal["word", "present", "absent", "uncertain", "history"]


@dataclass(frozen=True)
class HighlightSpan:
    """A part of a report, `report[start:end]`.

    Attributes:
        start: its first character.
        end: one past its last character.
        kind: `word` for a word of the query; for a finding, what the report asserts of it: `present`, `absent`,
            `uncertain` or `history`. A word of the query in a finding that the report denies is `absent`.
    """

    start: int
    end: int
    kind: Kind


def highlight(report: str, query: ParsedQuery, asked: Asked = NOTHING, language: str = "") -> list[HighlightSpan]:
    """Return where a report mentions the findings of a query or narrower ones, and where it has its other words.

    Words match whatever their plural, gender and accents. Where the query names findings, its other words (`large`,
    `right`) are marked only in sentences that state one of them as present.

    Args:
        report: the report.
        query: the query.
        asked: what it asks of findings.
        language: of the report: `en`, `es`, or empty for both.

    Returns:
        The spans, in the order of the report.
    """
    extractor = label_extractor()
    wanted = {label.casefold() for label in asked.present | asked.absent} & extractor.library.keywords.keys()
    stems = query.stems - _stems_of_findings(query) if wanted else query.stems
    spans: list[HighlightSpan] = []
    for sentence in sentences(report):
        mentions = extractor.mentions([sentence], language)
        own = [
            mention
            for mention in mentions
            if mention.label in wanted or not wanted.isdisjoint(extractor.library.ancestors(mention.label))
        ]
        found = [HighlightSpan(mention.start, mention.end, mention.assertion) for mention in own]
        if not wanted or any(mention.assertion == "present" for mention in own):
            found += _words(sentence, stems, own, mentions)
        spans += sorted(found, key=lambda span: span.start)
    return spans


def _words(
    sentence: Sequence[Word], stems: frozenset[str], own: Sequence[Mention], mentions: Sequence[Mention]
) -> Iterator[HighlightSpan]:
    for word in sentence:
        if word.stem in stems and not any(_within(word, mention) for mention in own):
            denied = any(mention.assertion == "absent" and _within(word, mention) for mention in mentions)
            yield HighlightSpan(word.start, word.end, "absent" if denied else "word")


def _within(word: Word, mention: Mention) -> bool:
    return mention.start <= word.start < mention.end


def _stems_of_findings(query: ParsedQuery) -> frozenset[str]:
    mentions = label_extractor().mentions(query.sentences)
    return frozenset(word.stem for word in query.words if any(_within(word, mention) for mention in mentions))
