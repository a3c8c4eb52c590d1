"""What a query asks of findings: which it names, and whether it wants them present or absent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bimcvr.curation.labels.extractor import NORMAL
from bimcvr.curation.labels.triggers import find_triggers
from bimcvr.search.asked.labels import canonical_label, has_label, label_extractor
from bimcvr.search.asked.parsed_query import ParsedQuery, parse_query
from bimcvr.search.index.reader import Index

_READ = 1000
"""Of how many reports the text is read for a finding that no label of the index says anything of."""

# words around a denied finding that add nothing: `there is no … seen`, `no evidence of …`
_FILLERS = frozenset(
    "there is are any evidence sign signs of seen identified present hay se observa evidencia de".split()
)


@dataclass(frozen=True)
class Asked:
    """What a query asks of findings.

    Attributes:
        present: findings that are to be seen.
        absent: findings that are denied.
        words: the query's words without those of its denied findings, unless it asks for nothing else.
    """

    present: frozenset[str]
    absent: frozenset[str]
    words: str

    @property
    def names_any(self) -> bool:
        """Whether it names a finding."""
        return bool(self.present or self.absent)


NOTHING = Asked(frozenset(), frozenset(), "")


def asked_of(query: ParsedQuery, label: str = "", denied: bool = False) -> Asked:
    """Return what a query asks of findings.

    Args:
        query: the parsed query.
        label: the one finding that it is about, where it says nothing else.
        denied: whether it denies that finding.
    """
    if label:
        named = frozenset({label})
        return Asked(
            frozenset() if denied else named, named if denied else frozenset(), label if denied else query.text
        )
    mentions = [mention for mention in label_extractor().mentions(query.sentences) if mention.label != NORMAL]
    denials = [mention for mention in mentions if mention.assertion == "absent"]
    absent = frozenset(mention.label for mention in denials)
    present = frozenset(mention.label for mention in mentions) - absent
    kept = [
        query.text[word.start : word.end]
        for word in query.words
        if not any(mention.start <= word.start < mention.end for mention in denials)
    ]
    return Asked(present, absent, " ".join(kept) if present else query.text)


def one_finding(query: ParsedQuery, index: Index) -> tuple[str, bool]:
    """Return the label of a query that names one finding and says nothing else of it than that it is there, or not.

    Args:
        query: the parsed query.
        index: an open index.

    Returns:
        The label, and whether the query denies it; an empty label where the query says more, or names none.
    """
    label = canonical_label(query, index)
    return (label, False) if label else (_denied_label(query, index), True)


def has_prompts(query: ParsedQuery, index: Index) -> bool:
    """Return whether a query is a keyword, or its denial, whose prompt vectors the index has: no model is needed."""
    return index.prompts is not None and one_finding(query, index)[0] in index.prompts.labels


def _denied_label(query: ParsedQuery, index: Index) -> str:
    """Return the finding of `no …`, `… absent`, `no evidence of …`; empty where the query is anything else."""
    words = query.words
    triggers = find_triggers(words, label_extractor().library.find(words))
    kinds = {trigger.kind for trigger in triggers} - {"stop"}
    if kinds != {"absent"}:
        return ""
    denying = {i for trigger in triggers if trigger.kind == "absent" for i in range(trigger.first, trigger.last)}
    kept = [i for i, word in enumerate(words) if i not in denying and not word.is_article and word.text not in _FILLERS]
    if not kept:
        return ""
    return canonical_label(parse_query(query.text[words[kept[0]].start : words[kept[-1]].end]), index)


def agreeing(index: Index, asked: Asked, positions: Sequence[int]) -> list[int]:
    """Leave out reports that contradict a query: a denied mention of a finding is no match of its words.

    Args:
        index: the index.
        asked: what the query asks of findings.
        positions: of reports that contain words of the query, best first.

    Returns:
        The positions of those that state one of the findings that are to be seen, if there are such, and none of the
        denied ones.
    """
    if not asked.names_any:
        return list(positions)
    stating = {label: has_label(index, label) for label in asked.present | asked.absent}
    if unknown := [label for label, rows in stating.items() if not rows.any()]:
        positions = positions[:_READ]
        stating |= _read(index, unknown, positions)
    found = np.asarray(positions, dtype=np.int64)
    matching = np.ones(len(found), dtype=bool)
    if asked.present:
        matching = np.any([stating[label][found] for label in asked.present], axis=0)
    for label in asked.absent:
        matching &= ~stating[label][found]
    agreed: list[int] = found[matching].tolist()
    return agreed


def _read(index: Index, labels: Sequence[str], positions: Sequence[int]) -> dict[str, np.ndarray]:
    """Return for each label which of some reports state it, (N,) bool, by reading them."""
    extractor = label_extractor()
    stating = {label: np.zeros(len(index), dtype=bool) for label in labels}
    for position, study in zip(positions, index.rows(positions), strict=True):
        stated = extractor.labels(study.report, study.cells.get("language", ""), parents=True)
        for label in labels:
            stating[label][position] = label.casefold() in stated
    return stating
