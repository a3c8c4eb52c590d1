"""Write the English report of a study: what is present and what is not, in varying words and order."""

import dataclasses

from bimcvr.phantom.reports.findings import FINDING_KINDS, PlantedFinding, Rng
from bimcvr.phantom.reports.vocabulary import FILLERS, NORMAL, PHRASES

SIZE_LEFT_OUT = 0.15
FEWEST_WORDS, MOST_WORDS = 50, 105


def write_english(findings: tuple[PlantedFinding, ...], rng: Rng) -> tuple[str, tuple[PlantedFinding, ...]]:
    """Write a report.

    Args:
        findings: what the study shows.
        rng: for the random draws.

    Returns:
        The text, and the findings as it states them: a size that it leaves out is None.
    """
    stated = tuple(
        dataclasses.replace(finding, size=None) if rng.random() < SIZE_LEFT_OUT else finding for finding in findings
    )
    sentences = [_state(finding, rng) for finding in stated]
    sentences += _fill(sentences, {finding.finding for finding in findings}, rng)
    return " ".join(sentences[i] for i in rng.permutation(len(sentences))), stated


def _state(finding: PlantedFinding, rng: Rng) -> str:
    phrases = PHRASES[finding.finding]
    template = _choose(phrases.plain if finding.size is None else phrases.sized, rng)
    site = phrases.sites.get(finding.site, finding.site)
    return _capital(template.format(site=site, size=_size(finding, rng)))


def _size(finding: PlantedFinding, rng: Rng) -> str:
    if finding.size is None:
        return ""
    if isinstance(finding.size, str):
        return _choose(PHRASES[finding.finding].grades[finding.size], rng)
    if finding.size >= 30 and rng.random() < 0.3:
        return f"{finding.size / 10:g} cm"
    return f"{finding.size} mm"


def _fill(sentences: list[str], present: set[str], rng: Rng) -> list[str]:
    """Return negations, normal statements and fillers until the report has a drawn number of words."""
    absent = _shuffled([_choose(PHRASES[name].negations, rng) for name in FINDING_KINDS if name not in present], rng)
    normal = _shuffled([_choose(statements, rng) for names, statements in NORMAL if not present & set(names)], rng)
    fillers = _shuffled(list(FILLERS), rng)
    goal = int(rng.integers(FEWEST_WORDS, MOST_WORDS))
    # every report denies something and, where it can, calls something normal
    first = [*absent[:2], *normal[:1], *fillers[:1]]
    pool = first + _shuffled([*absent[2:], *normal[1:], *fillers[1:]], rng)
    filled: list[str] = []
    for sentence in pool:
        if len(filled) >= len(first) and sum(len(s.split()) for s in sentences + filled) >= goal:
            break
        filled.append(sentence)
    return filled


def _shuffled(sentences: list[str], rng: Rng) -> list[str]:
    return [sentences[i] for i in rng.permutation(len(sentences))]


def _choose(options: tuple[str, ...], rng: Rng) -> str:
    return options[int(rng.integers(len(options)))]


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
