"""Which words are names of people: a list of frequent names, and the eponyms of medicine."""

import re
from functools import cache
from importlib.resources import files

from bimcvr.curation.anonymise.rules import EPONYMS, PLAIN_WORDS
from bimcvr.curation.text.tokens import fold

_SEPARATORS = re.compile(r"[\s,.\-’'´]+")
_OF_A_DISEASE = re.compile(
    r"(?i)(?:s[íi]ndrome|sd\.?|enfermedad|signo|test|prueba|escala|maniobra|tumor|linfoma|sarcoma|quiste|hernia|nódulos?|fractura|clasificaci[óo]n|"
    r"índice|indice|criterios?|ley|virus|anillo|agujero|pol[íi]gono|triángulo|espacio|fascia|cat[ée]ter|drenaje|tubo|sonda|técnica|operaci[óo]n|"
    r"l[íi]neas?|divert[íi]culo|disease|syndrome|sign|grado|tipo|factor|ley|método|punto|ligamento|válvula|aguja|células?|cuerpos?|cirug[íi]a|"
    r"procedimiento|intervenci[óo]n|reparaci[óo]n|modelo|models?|score|puntuaci[óo]n|calculadora|"
    r"\w+(?:ectom[íi]a|plastia|ectomy|plasty))\s+(?:de\s+(?:la\s+)?)?(?:tipo\s+)?$|"
    r"\b(?:ivor|tirone)[ -]$|\b(?:status[ ]post|s/p)[ ]$"
)
# after a name: an operation, a device, a sign or a formula that bears it
_METHOD = re.compile(
    r"(?i)(?:['’]s)?[ \t-]+(?:procedure|operation|shunt|repair|model|score|calculator|criteria|classification|drain|"
    r"valve|catheter|tube|stent|graft|filter|method|formula|equation|index|ratio|sign|lines?|nodes?|disease|syndrome|"
    r"tumou?r|lewis|autograft|homograft|resection|surgery|technique|circulation|anastomosis|fundoplication|\w+(?:ectomy|ostomy|plasty|ectom[íi]a|ostom[íi]a))\b"
)


@cache
def _names() -> dict[str, frozenset[str]]:
    text = files("bimcvr.curation.anonymise").joinpath("person_names.txt").read_text(encoding="utf-8")
    kinds: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            current = kinds.setdefault(line.strip("[]"), set())
        elif not line.startswith("#"):
            current.update(line.split())
    return {kind: frozenset(words) for kind, words in kinds.items()}


def name_words(text: str) -> list[str]:
    """Return the words of a name, folded, without particles and initials."""
    return [
        word
        for word in _SEPARATORS.split(fold(text))
        if len(word) > 2 and word not in ("del", "las", "los", "van", "von")
    ]


def is_given(word: str) -> bool:
    """Return whether a folded word is a frequent given name."""
    return word in _names()["given"]


def is_family(word: str) -> bool:
    """Return whether a folded word is a frequent surname."""
    return word in _names()["family"]


def is_listed(word: str) -> bool:
    """Return whether a folded word is a frequent given name or surname."""
    return is_given(word) or is_family(word)


def may_spread(word: str) -> bool:
    """Return whether a word that was a name in one place is taken for a name everywhere else in the report."""
    return len(word) > 3 and word not in EPONYMS and word not in PLAIN_WORDS


def is_eponym(before: str, words: list[str], after: str = "") -> bool:
    """Return whether a run of capitalised words names a disease, a sign, an operation or an anatomical part.

    Args:
        before: the text before the run.
        words: the run's folded words.
        after: the text after the run.
    """
    if _OF_A_DISEASE.search(before[-40:]) or _METHOD.match(after[:40]):
        return True
    return any(word in EPONYMS for word in words)
