"""Findings and impression of a report that has both in one text, as Merlin's.

A heading `IMPRESSION:` or `IMPRESSIONS:` divides about 80 % of Merlin's reports; about 19.5 % end with conclusions that
are numbered from 1 and have no heading; about 0.5 % show no boundary (measured by the authors of RadFinder,
github.com/lmb-freiburg/radfinder, src/radfinder/data/merlin.py, whose two rules these are).
"""

import re
from typing import Literal, NamedTuple

Rule = Literal["heading", "numbers", "none"]
# in capitals anywhere; otherwise where a line or a sentence begins, so that "clinical impression: …" divides nothing
_HEADING = re.compile(r"(?:^|\s)IMPRESSIONS?\s*:|(?:^| {2}|(?<=[.;:])\s)\s*(?i:impressions?)\s*:", re.MULTILINE)
_FINDINGS = re.compile(r"\s*findings?\s*:\s*", re.IGNORECASE)
# line breaks of the original often became runs of blanks
_ITEM = r"(?:\n\s*| {{3}}\s*){}[.,]\s+(?=\D)"
_FIRST, _SECOND = (re.compile(_ITEM.format(number)) for number in (1, 2))
_SINGLE_FROM = 0.6
"""Share of the text after which a single numbered item is a conclusion."""


class Sections(NamedTuple):
    """The two sections of a report, stripped and without their headings, and the rule that divided them.

    With the rule `none`, `findings` is the whole text.
    """

    findings: str
    impression: str
    rule: Rule


def split_report(text: str) -> Sections:
    """Divide a report into findings and impression.

    Args:
        text: findings and impression in this order.
    """
    heading = _HEADING.search(text)
    if heading:
        return Sections(_without_heading(text[: heading.start()]), text[heading.end() :].strip(), "heading")
    for item in reversed(list(_FIRST.finditer(text))):
        is_list = _SECOND.search(text, item.end()) is not None
        if text[: item.start()].strip() and (is_list or item.start() > _SINGLE_FROM * len(text)):
            return Sections(_without_heading(text[: item.start()]), text[item.start() :].strip(), "numbers")
    return Sections(_without_heading(text), "", "none")


def _without_heading(text: str) -> str:
    heading = _FINDINGS.match(text)
    return (text[heading.end() :] if heading else text).strip()
