"""Checks that a translation from Spanish to English preserves numbers, sides, negations and tags.

The languages negate and count differently, so each quantity is a range from what a text certainly says to what it may
also say. A translation fails if the two ranges do not overlap. `sin derrame ni neumotórax` has one or two negations;
`normal`, a translation of `sin alteraciones`, has none or one. Texts with the same number of sentences are compared
sentence by sentence, others as a whole.
"""

import re
from collections import Counter
from dataclasses import dataclass

from bimcvr.curation.text.tokens import fold
from bimcvr.curation.translation.sentences import places_to_compare, sentences_to_compare

_TAG = re.compile(r"\[[A-Z_]{2,12}\]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_GROUPED = re.compile(r"\d{1,3}(?:[.,]\d{3})+")

# words that may replace a digit in the other language; `un` and `a` are articles, so none of these is required
_WORDS = {
    "0": "cero zero",
    "1": "uno una un one i primer primero primera first single unico unica solo",
    "2": "dos two ii segundo segunda second ambos both",
    "3": "tres three iii tercer tercero tercera third",
    "4": "cuatro four iv cuarto cuarta fourth",
    "5": "cinco five v quinto quinta fifth",
    "6": "seis six vi sexto sexta sixth",
    "7": "siete seven vii septimo septima seventh",
    "8": "ocho eight viii octavo octava eighth",
    "9": "nueve nine ix noveno novena ninth",
    "10": "diez ten x decimo decima tenth",
    "11": "once eleven xi",
    "12": "doce twelve xii",
}
_SPOKEN = {word: number for number, words in _WORDS.items() for word in words.split()}

# words for the sides, and abbreviations of the lobes that have no other meaning
_SIDES_ES = {
    "right": r"derech[oa]s?|dch[oa]s?|dret[ao]?s?|der|lsd|lid|lmd",
    "left": r"izquierd[oa]s?|izd[oa]s?|izq[a-z]*|esquerr[ae]s?|lsi|lii",
}
_SIDES_EN = {"right": r"right(?:ward|-sided)?|rt|rul|rll", "left": r"left(?:ward|-sided)?|lt|lul|lll"}
# abbreviations that imply a side, and structures that exist on one side only, where a language may omit the side
_HIDDEN_ES = {
    "right": r"(?-i:LM|VD|AD|MSD|MID|CD|HCD|APD|TSVD|OD|FID|CID)|l[óo]bulo\s+medio|[áa]cigos",
    "left": r"(?-i:VI|AI|MSI|MII|HCI|API|DAI|TCI|OI|FII|CII|DA)|l[íi]ngula",
}
_HIDDEN_EN = {
    "right": r"(?-i:RML|RV|RA|RCA|RPA|RUE|RLE|OD|RLQ|RUQ|RVOT)|middle\s+lobe|azygos",
    "left": r"(?-i:LV|LA|LCA|LPA|LUE|LLE|OS|LLQ|LUQ|LAD|LVOT|LMCA)|lingula",
}

_NOT_ES = re.compile(
    r"(?i)\b(?:no(?!\s?\.?\s?\d)|sin|ausencia|ausentes?|niega[n]?|negativ[oa]s?|tampoco|nunca|carece[n]?|libres?\s+de|"
    r"descarta(?:n|do|da|ndo)?|excluye[n]?|exclu[íi]d[oa]s?)\b"
)
_NOT_EN = re.compile(
    r"(?i)(?:\b(?:no(?!\.\s?\d)|not|cannot|without|absence|absent|denie[sd]|negative|never|neither|none|free\s+of|lacks?|"
    r"lacking|(?:rule[sd]?|ruling)\s+out|exclude[sd]?|excluding)\b|n[’']t\b)"
)
# possible negations, which the other language may express by `no` or `without`: `normal`, `sin alteraciones`
_MAYBE_ES = re.compile(
    r"(?i)\b(?:ni|ning[úu]n|ning[úu]n[oa]s?|nada|in(?:alterad|m[óo]vil|visible|suficient|complet|definid)\w*|"
    r"as[íi]ntom[áa]tic\w*|afebril|descartar(?:se)?|excluir|imposibilidad|libres?|falta\w*|normal(?:es|idad)?|"
    r"conservad[oa]s?|limpi[oa]s?|indemnes?|"
    r"estables?|igual|similar(?:es)?|simple|basal|desapar\w+|resoluci[óo]n|resuelt[oa]s?|p[ée]rdida)\b"
)
_MAYBE_EN = re.compile(
    r"(?i)\b(?:nor|non-?\w*|un(?:remarkable|changed|enhanced|altered|affected|involved|complicated|"
    r"dilated|calcified|clear|"
    r"likely|known|specific|related|able|obstructed|eventful|contrast\w*)|"
    r"in(?:significant|conclusive|complete|visible|distinct|sufficient|tact)|asymptomatic|afebrile|"
    r"normal|clear|patent|stable|preserved|"
    r"loss|lost|disappear\w*|resolved|resolution|"
    r"missing|fail\w*|plain|otherwise)\b"
)
# frequent Spanish words that are not English: three in a row were left untranslated
_SPANISH = frozenset(
    "el la los las del se con sin por para una un que y en al lo su es de no derecho derecha izquierdo izquierda"
    " pulmonar pulmonares derrame nodulo nodulos hallazgos observa observan aprecia aprecian lobulo".split()
) - {"no", "en", "me"}

Place = tuple[int, int]


@dataclass(frozen=True)
class _Range:
    low: int
    high: int

    def overlaps(self, other: "_Range") -> bool:
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


def check_translation(source: str, translation: str) -> list[str]:
    """Return what a translation from Spanish to English lost or changed.

    Args:
        source: the anonymised Spanish text.
        translation: the English text.

    Returns:
        A short line for each problem, without text of the report; empty if numbers, sides, negations and tags agree.
    """
    if not translation.strip():
        return ["empty"] if source.strip() else []
    problems = _tags(source, translation) + _numbers(source, translation) + _untranslated(source, translation)
    pairs = _aligned(_TAG.sub(" ", source), _TAG.sub(" ", translation))
    for number, (spanish, english) in enumerate(pairs, 1):
        where = f"sentence {number}" if len(pairs) > 1 else "the text"
        problems += [f"{problem} in {where}" for problem in (*_sides(spanish, english), *_negations(spanish, english))]
    return problems


def problem_places(problem: str, source: str, translation: str) -> tuple[list[Place], list[Place]]:
    """Return the places in both texts that a problem is about: what a reviewer has to compare.

    Args:
        problem: a line of `check_translation`.
        source: the text that it checked.
        translation: its translation.

    Returns:
        Of the source and of the translation: (first character, one past the last), ascending.
    """
    kind, _, rest = problem.partition(": ")
    if kind in ("numbers lost", "numbers added"):
        numbers = set(rest.split(", "))
        found = [hit.span() for hit in _NUMBER.finditer(source if "lost" in kind else translation) if hit[0] in numbers]
        return (found, []) if "lost" in kind else ([], found)
    if kind.startswith("tag "):
        tag = re.escape(kind.removeprefix("tag "))
        return _hits(tag, source), _hits(tag, translation)
    if kind == "left in Spanish":
        return [], _hits(rf"(?i)\b(?:{'|'.join(sorted(_SPANISH))})\b", translation)
    if kind == "negations":
        patterns = (_NOT_ES.pattern, _NOT_EN.pattern)
    else:
        sides = [side for side in ("right", "left") if re.search(rf"\b{side}\b", problem)]
        patterns = _any_of(sides, _SIDES_ES, _HIDDEN_ES), _any_of(sides, _SIDES_EN, _HIDDEN_EN)
    number = re.search(r" in sentence (\d+)$", problem)
    sentence = int(number[1]) if number else 0
    return _hits(patterns[0], source, sentence), _hits(patterns[1], translation, sentence)


def _any_of(sides: list[str], *words: dict[str, str]) -> str:
    alternatives = "|".join(by_side[side] for by_side in words for side in sides)
    return rf"(?i)\b(?:{alternatives or '(?!)'})\b"


def _hits(pattern: str, text: str, sentence: int = 0) -> list[Place]:
    """Return where a pattern occurs, in one sentence (counted from 1) or in all."""
    # blanks in place of tags: sentences are counted without them, and positions stay
    sentences = places_to_compare(_TAG.sub(lambda tag: " " * len(tag[0]), text))
    start, end = sentences[sentence - 1] if 0 < sentence <= len(sentences) else (0, len(text))
    return [hit.span() for hit in re.compile(pattern).finditer(text, start, end)]


def _aligned(source: str, translation: str) -> list[tuple[str, str]]:
    spanish, english = sentences_to_compare(source), sentences_to_compare(translation)
    return list(zip(spanish, english, strict=True)) if len(spanish) == len(english) else [(source, translation)]


def _tags(source: str, translation: str) -> list[str]:
    before, after = Counter(_TAG.findall(source)), Counter(_TAG.findall(translation))
    return [
        f"tag {tag}: {before[tag]} became {after[tag]}" for tag in sorted(before | after) if before[tag] != after[tag]
    ]


def _readings(number: str) -> frozenset[str]:
    """Return the possible values of a number: `14.610` is in the thousands in Spanish and a decimal in English."""
    values = set()
    if _GROUPED.fullmatch(number):
        values.add(re.sub(r"[.,]", "", number))
    if len(re.findall(r"[.,]", number)) <= 1:
        whole, _, decimals = number.replace(",", ".").partition(".")
        values.add(f"{whole}.{decimals.rstrip('0')}".rstrip("."))
    return frozenset(value.lstrip("0") or "0" for value in values or {number})


def _numbers(source: str, translation: str) -> list[str]:
    unmatched = [(number, _readings(number)) for number in _NUMBER.findall(_TAG.sub(" ", source))]
    added = []
    for number in _NUMBER.findall(_TAG.sub(" ", translation)):
        match = next((i for i, (_, readings) in enumerate(unmatched) if readings & _readings(number)), None)
        if match is None:
            added.append(number)
        else:
            unmatched.pop(match)
    lost = [number for number, readings in unmatched if not readings & _spoken(translation)]
    added = [number for number in added if not _readings(number) & _spoken(source)]
    return [f"numbers lost: {', '.join(lost)}"] * bool(lost) + [f"numbers added: {', '.join(added)}"] * bool(added)


def _spoken(text: str) -> set[str]:
    return {_SPOKEN[word] for word in re.findall(r"[a-z]+", fold(text)) if word in _SPOKEN}


def _side_ranges(text: str, words: dict[str, str], hidden: dict[str, str]) -> dict[str, _Range]:
    ranges = {}
    for side in ("right", "left"):
        certain = len(re.findall(rf"(?i)\b(?:{words[side]})\b", text))
        ranges[side] = _Range(certain, certain + len(re.findall(rf"(?i)\b(?:{hidden[side]})\b", text)))
    return ranges


def _sides(source: str, translation: str) -> list[str]:
    english = re.sub(
        r"(?i)\b(?:was|were|is|are|been|be)\s+left\b|\bleft\s+(?:in|over|behind)\b|\bright\s+away\b", " ", translation
    )
    before = _side_ranges(source, _SIDES_ES, _HIDDEN_ES)
    after = _side_ranges(english, _SIDES_EN, _HIDDEN_EN)
    problems = [
        f"{side}: {before[side]} became {after[side]}" for side in before if not before[side].overlaps(after[side])
    ]
    if not problems and _order(source, _SIDES_ES) != _order(english, _SIDES_EN) and not _hidden(before, after):
        problems.append("right and left are in another order")
    return problems


def _hidden(*ranges: dict[str, _Range]) -> bool:
    return any(count.low != count.high for sides in ranges for count in sides.values())


def _order(text: str, words: dict[str, str]) -> str:
    matches = re.finditer(rf"(?i)\b(?:(?P<right>{words['right']})|(?P<left>{words['left']}))\b", text)
    return "".join("R" if match["right"] else "L" for match in matches)


def _negations(source: str, translation: str) -> list[str]:
    before, after = (
        _Range(len(certain.findall(text)), len(certain.findall(text)) + len(maybe.findall(text)))
        for text, certain, maybe in ((source, _NOT_ES, _MAYBE_ES), (translation, _NOT_EN, _MAYBE_EN))
    )
    return [] if before.overlaps(after) else [f"negations: {before} became {after}"]


def _untranslated(source: str, translation: str) -> list[str]:
    words = re.findall(r"[a-z]+", fold(translation))
    spanish = [word in _SPANISH for word in words]
    run = any(all(spanish[i : i + 3]) for i in range(len(words) - 2))
    same = len(words) > 3 and fold(source).split() == fold(translation).split()
    return ["left in Spanish"] if run or same else []
