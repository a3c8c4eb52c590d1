"""Numbers, sides and negations of a translation.

How often right ones are doubted, and how often a planted error is found.
"""

import random
import re

import pytest

from bimcvr.curation.translation.checks import check_translation, problem_places
from curation.translation_pairs import HELD_OUT, PAIRS

SWAPS = {"right": "left", "left": "right", "Right": "Left", "Left": "Right", "RLL": "LLL", "LUL": "RUL"}
NEGATIONS = re.compile(r"\b(?:There (?:is|are) no|No|no|not|without|Without)\b ?")


def planted(english: str, kind: str, rng: random.Random) -> str | None:
    """The translation with one error of a kind, None where it has nothing to spoil."""
    if kind == "number":
        found = [match for match in re.finditer(r"\d+", english)]
        change = {match.start(): str(int(match[0]) + rng.choice([1, 2, 10])) for match in found}
    elif kind == "side":
        found = [match for match in re.finditer(r"\w+", english) if match[0] in SWAPS]
        change = {match.start(): SWAPS[match[0]] for match in found}
    else:
        found = list(NEGATIONS.finditer(english))
        change = {match.start(): "" for match in found}
    if not found:
        return None
    match = rng.choice(found)
    return english[: match.start()] + change[match.start()] + english[match.end() :]


def test_right_translations_are_rarely_doubted() -> None:
    doubted = {
        source: problems for source, translation in PAIRS if (problems := check_translation(source, translation))
    }
    print(f"doubted {len(doubted)}/{len(PAIRS)}", *doubted.items(), sep="\n")
    assert len(PAIRS) >= 40
    assert len(doubted) <= 0.05 * len(PAIRS)


def test_held_out_translations() -> None:
    rng = random.Random(2)  # noqa: S311
    doubted = {
        source: problems for source, translation in HELD_OUT if (problems := check_translation(source, translation))
    }
    tried = [
        (source, spoiled)
        for source, english in HELD_OUT
        for kind in ("number", "side", "negation")
        if (spoiled := planted(english, kind, rng))
    ]
    missed = [spoiled for source, spoiled in tried if not check_translation(source, spoiled)]
    print(
        f"held out: doubted {len(doubted)}/{len(HELD_OUT)}, planted errors missed {len(missed)}/{len(tried)}",
        *doubted.items(),
        *missed,
        sep="\n",
    )
    assert len(doubted) <= 0.1 * len(HELD_OUT)
    assert len(missed) <= 0.1 * len(tried)


@pytest.mark.parametrize(("kind", "least"), [("number", 0.98), ("side", 0.95), ("negation", 0.9)])
def test_planted_errors_are_found(kind: str, least: float) -> None:
    rng = random.Random(0)  # noqa: S311
    tried = [
        (source, spoiled) for source, english in PAIRS for _ in range(3) if (spoiled := planted(english, kind, rng))
    ]
    missed = [spoiled for source, spoiled in tried if not check_translation(source, spoiled)]
    print(f"{kind}: found {len(tried) - len(missed)}/{len(tried)}", *sorted(set(missed)), sep="\n")
    assert len(tried) >= 40
    assert len(missed) <= (1 - least) * len(tried)


@pytest.mark.parametrize("joined", [3, 8])
def test_whole_reports(joined: int) -> None:
    """Sentences shuffled into reports.

    The checks hold at the length of a real one, also where sentences do not align.
    """
    rng = random.Random(1)  # noqa: S311
    doubted, missed, total = 0, 0, 60
    for _ in range(total):
        chosen = rng.sample(PAIRS, joined)
        source, english = " ".join(pair[0] for pair in chosen), " ".join(pair[1] for pair in chosen)
        if rng.random() < 0.5:
            english = english.replace(". ", "; and ", 1).replace(". ", ", and ", 1)  # sentences no longer align
        doubted += bool(check_translation(source, english))
        spoiled = planted(english, rng.choice(["number", "side", "negation"]), rng)
        missed += spoiled is not None and not check_translation(source, spoiled)
    print(f"reports of {joined}: doubted {doubted}/{total}, missed {missed}/{total}")
    assert doubted <= 0.15 * total
    assert missed <= 0.35 * total


@pytest.mark.parametrize(
    ("source", "translation", "word"),
    [
        ("No se observa derrame.", "Effusion is seen.", "negations"),
        ("Derrame derecho.", "Left effusion.", "left"),
        ("Derrame derecho y nódulo izquierdo.", "Left effusion and right nodule.", "order"),
        ("Nódulo de 1,5 cm.", "Nodule of 15 cm.", "numbers"),
        ("Nódulo de 8 mm.", "Nodule.", "lost: 8"),
        ("Nódulo.", "Nodule of 8 mm.", "added: 8"),
        ("Nódulo visto por [NAME].", "Nodule seen by John.", "[NAME]"),
        ("Nódulo.", " ", "empty"),
        (
            "No se observan nódulos en el lóbulo superior derecho.",
            "No se observan nódulos en el lóbulo superior derecho.",
            "Spanish",
        ),
        ("Derrame pleural con atelectasia.", "Derrame pleural con atelectasia.", "Spanish"),
    ],
)
def test_each_problem_is_named(source: str, translation: str, word: str) -> None:
    problems = check_translation(source, translation)
    assert any(word in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("Nódulo de 1,5 cm.", "Nodule of 1.50 cm."),
        ("Plaquetas 206.000.", "Platelets 206000."),
        ("Tres nódulos.", "3 nodules."),
        ("", ""),
        ("Estadio III.", "Stage 3."),
        ("1 nódulo.", "One nodule."),
    ],
)
def test_same_numbers_in_another_dress(source: str, translation: str) -> None:
    assert check_translation(source, translation) == []


@pytest.mark.parametrize(
    ("source", "translation", "of_source", "of_translation"),
    [
        ("Nódulo de 8 mm.", "Nodule of 6 mm.", ["8"], ["6"]),
        ("Paciente [NAME]. Nódulo.", "Patient. Nodule.", ["[NAME]"], []),
        ("Nódulo. Sin derrame [DATE].", "Nodule. Effusion [DATE].", ["Sin"], []),
        ("Masa derecha, quiste izquierdo.", "Left mass, right cyst.", ["derecha", "izquierdo"], ["Left", "right"]),
        ("Nódulo en el pulmón. Normal.", "Nódulo en el pulmón. Normal.", [], ["el"]),
    ],
)
def test_the_places_of_a_problem_are_those_to_compare(
    source: str, translation: str, of_source: list[str], of_translation: list[str]
) -> None:
    found: tuple[set[tuple[int, int]], set[tuple[int, int]]] = (set(), set())
    for problem in check_translation(source, translation):
        for kept, places in zip(found, problem_places(problem, source, translation), strict=True):
            kept.update(places)
    assert [source[start:end] for start, end in sorted(found[0])] == of_source
    assert [translation[start:end] for start, end in sorted(found[1])] == of_translation
