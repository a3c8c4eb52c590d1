"""Findings by name: which label a query names, and which studies have it."""

import functools

import numpy as np

from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.search.asked.parsed_query import ParsedQuery
from bimcvr.search.index.reader import Index


@functools.cache
def label_extractor() -> LabelExtractor:
    """Return the label extractor over the keyword library that comes with the package."""
    return LabelExtractor()


def canonical_label(query: ParsedQuery, index: Index) -> str:
    """Return the label of a query that names one finding and says nothing else.

    Args:
        query: the parsed query.
        index: an open index.

    Returns:
        The label as the index spells it, or as the keyword library does where the index has no such label; empty where
        the query is more than a finding's name, or names none.
    """
    name = " ".join(query.text.strip().strip(".").casefold().split())
    # the prompts' spelling comes first: a keyword is encoded through them
    known: list[str] = [*(index.prompts.labels if index.prompts else ()), *index.label_counts()]
    for label in known:
        if label.casefold() == name:
            return label
    findings = label_extractor().library.find(query.words)
    if len(findings) == 1:
        finding = findings[0]
        if finding.is_phrase and (finding.first, finding.last) == (0, len(query.words)):
            return finding.label
    return ""


def has_label(index: Index, label: str) -> np.ndarray:
    """Return which studies have a label, or the label of a narrower finding, as (N,) bool."""
    library, name = label_extractor().library, label.casefold()
    matching = {
        known
        for known in index.label_counts()
        if known.casefold() == name
        or (known.casefold() in library.keywords and name in library.ancestors(known.casefold()))
    }
    return np.array([not matching.isdisjoint(labels) for labels in index.labels], dtype=bool)
