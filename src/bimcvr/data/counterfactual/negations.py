"""Deny a sentence that affirms a finding, and affirm a denial, by the first rule whose pattern matches."""

import re
from collections.abc import Callable

from bimcvr.data.counterfactual.language_rules import FINDING_SYNONYMS, MEASURE, Rewrites, Rules, in_case_of, mentions

Edit = tuple[int, int, str]

_OF_SIZE = re.compile(
    r"(?<!or)(?<!ores)(?<!than),?\s*\(?\b(?:of|measuring|that measures|with a thickness of|to|de|que mide|con un "
    rf"tamaño de)\s+(?:(?:up to|hasta|unos|about|approximately|aproximadamente)\s+)?{MEASURE}\)?|\s+of \w+ extent\b",
    re.IGNORECASE,
)
_FIRST_OF_TWO = re.compile(r"([\w-]+) (and|y|e) ")
# singular nouns that want an article once "no" is gone
_COUNTABLE = re.compile(
    r"(?:mass|nodule|lesion|effusion|pneumothorax|hernia|fracture|aneurysm|collection|cyst|thrombus|embolus|"
    r"goit(?:er|re)|pacemaker|cavity|bulla|shift|defect|tumou?r|abscess|pattern|abnormality|opacity|"
    r"infiltrate)$",
    re.IGNORECASE,
)
_HEAD = re.compile(r"^(?:(?!\b(?:of|in|on|at|with|within|to|or|and|is|are|that)\b)[\w /-])+", re.IGNORECASE)


def is_known(text: str) -> bool:
    """Return whether a text names one of `FINDING_SYNONYMS`."""
    return any(mentions(text, synonyms) for synonyms in FINDING_SYNONYMS.values())


def deny(sentence: str, rules: Rules) -> Edit | None:
    """Deny the finding that a sentence affirms, without its grade and length; None if no pattern matches."""

    def found(x: str) -> str:
        bare = x[lead.end() :] if (lead := rules.leads.match(x)) else x
        both = _FIRST_OF_TWO.match(bare)  # "Bullae and mild emphysema are seen": "No bullae or emphysema are seen"
        bare = f"{both[1]} {'or' if both[2] == 'and' else 'ni'} {found(bare[both.end() :])}" if both else bare
        size = _OF_SIZE.search(bare)
        return (
            bare[: size.start()] + bare[size.end() :] if size and not re.search("[,;]", bare[: size.start()]) else bare
        )

    if rules.empty.search(sentence):
        return None
    bare = (rules.bare,) if is_known(sentence) else ()
    return _first(sentence, (*rules.deny, *bare), found, None)


def affirm(sentence: str, rules: Rules) -> Edit | None:
    """Affirm what a sentence denies; None if no pattern matches or no particular finding is denied."""

    def found(x: str) -> str:
        for pattern, new in rules.join:
            x = pattern.sub(new, x)
        return x

    return _first(sentence, rules.affirm, found, rules.empty)


def _first(
    sentence: str, rewrites: Rewrites, found: Callable[[str], str], empty: re.Pattern[str] | None
) -> Edit | None:
    """Rewrite a sentence by the first pattern that matches, and keep its capitals."""
    for pattern, template in rewrites:
        match = pattern.search(sentence)
        if match is None or (empty and empty.search(match.group())):
            continue
        groups = {name: text or "" for name, text in match.groupdict().items()}
        start = match.end("start") if "start" in groups else match.start()
        groups |= {"start": "", "x": found(groups.get("x", ""))}
        for name, text in groups.items():  # a word that began the sentence may no longer do so
            if name in match.groupdict() and match.start(name) == start and text[1:2].islower():
                groups[name] = text[0].lower() + text[1:]
        new = template.format(a=_article(groups["x"]), **groups)
        return start, match.end(), in_case_of(sentence[start], new)
    return None


def _article(x: str) -> str:
    head = _HEAD.match(x)
    if (
        head is None
        or not _COUNTABLE.search(head.group().rstrip())
        or re.match(r"(?:an?|the|evidence|signs?)\b", x, re.IGNORECASE)
    ):
        return ""
    return "an " if x[0].lower() in "aeiou" else "a "
