"""Whether a translation from Spanish to English kept what must not change: numbers, sides, negations and tags.

Languages negate and count differently, so each quantity is a range: what a text certainly says, and what it may also
say. A translation fails where the two ranges do not meet. `sin derrame ni neumotórax` holds one negation or two;
`normal`, which renders `sin alteraciones`, none or one. Sentences are compared one by one where both texts have the
same number of them, otherwise the whole texts are.
"""

import re
from collections import Counter
from dataclasses import dataclass

from bimcvr.curation.text.tokens import fold

_TAG = re.compile(r"\[[A-Z_]{2,12}\]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_GROUPED = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_SENTENCE = re.compile(r"(?<!\d)[.;](?=\s|$)|(?<=\d)[.;](?=\s+[A-ZÁÉÍÓÚÑ]|\s*$)|\n+")

# words that may stand for a digit on the other side; `un` and `a` are articles, so none of these is ever demanded
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

# words for the sides, with the abbreviations of the lobes, which have no other meaning
_SIDES_ES = {
    "right": r"derech[oa]s?|dch[oa]s?|dret[ao]?s?|der|lsd|lid|lmd",
    "left": r"izquierd[oa]s?|izd[oa]s?|izq[a-z]*|esquerr[ae]s?|lsi|lii",
}
_SIDES_EN = {"right": r"right(?:ward|-sided)?|rt|rul|rll", "left": r"left(?:ward|-sided)?|lt|lul|lll"}
# abbreviations that hold a side, and parts that have only one, which either language may leave unsaid
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
# what may carry a negation that the other language words by `no` or `without`: `sin alteraciones`, `normal`; `ni`, `or`
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
# frequent Spanish words that are no English ones: three in a row were left as they stood
_SPANISH = frozenset(
    "el la los las del se con sin por para una un que y en al lo su es de no derecho derecha izquierdo izquierda"
    " pulmonar pulmonares derrame nodulo nodulos hallazgos observa observan aprecia aprecian lobulo".split()
) - {"no", "en", "me"}


@dataclass(frozen=True)
class _Range:
    low: int
    high: int

    def meets(self, other: "_Range") -> bool:
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


def check_translation(source: str, translation: str) -> list[str]:
    """Return what a translation from Spanish to English lost or changed.

    Args:
        source: the Spanish text, anonymised.
        translation: the English text.

    Returns:
        one short line a problem, without text of the report; empty where numbers, sides, negations and tags survived.
    """
    if not translation.strip():
        return ["empty"] if source.strip() else []
    problems = _tags(source, translation) + _numbers(source, translation) + _left_as_it_stood(source, translation)
    pairs = _aligned(_TAG.sub(" ", source), _TAG.sub(" ", translation))
    for number, (spanish, english) in enumerate(pairs, 1):
        where = f"sentence {number}" if len(pairs) > 1 else "the text"
        problems += [f"{problem} in {where}" for problem in (*_sides(spanish, english), *_negations(spanish, english))]
    return problems


def _aligned(source: str, translation: str) -> list[tuple[str, str]]:
    spanish, english = (
        [part for part in _SENTENCE.split(text) if part and re.search(r"\w", part)] for text in (source, translation)
    )
    return list(zip(spanish, english, strict=True)) if len(spanish) == len(english) else [(source, translation)]


def _tags(source: str, translation: str) -> list[str]:
    before, after = Counter(_TAG.findall(source)), Counter(_TAG.findall(translation))
    return [
        f"tag {tag}: {before[tag]} became {after[tag]}" for tag in sorted(before | after) if before[tag] != after[tag]
    ]


def _readings(number: str) -> frozenset[str]:
    """Return what a number may mean: `14.610` is a thousand in Spanish and a decimal in English.

    `1,5` is 1.5 in both.
    """
    found = set()
    if _GROUPED.fullmatch(number):
        found.add(re.sub(r"[.,]", "", number))
    if len(re.findall(r"[.,]", number)) <= 1:
        whole, _, decimals = number.replace(",", ".").partition(".")
        found.add(f"{whole}.{decimals.rstrip('0')}".rstrip("."))
    return frozenset(value.lstrip("0") or "0" for value in found or {number})


def _numbers(source: str, translation: str) -> list[str]:
    left = [(number, _readings(number)) for number in _NUMBER.findall(_TAG.sub(" ", source))]
    added = []
    for number in _NUMBER.findall(_TAG.sub(" ", translation)):
        match = next((at for at, (_, readings) in enumerate(left) if readings & _readings(number)), None)
        if match is None:
            added.append(number)
        else:
            left.pop(match)
    lost = [number for number, readings in left if not readings & _spoken(translation)]
    added = [number for number in added if not _readings(number) & _spoken(source)]
    return [f"numbers lost: {', '.join(lost)}"] * bool(lost) + [f"numbers added: {', '.join(added)}"] * bool(added)


def _spoken(text: str) -> set[str]:
    return {_SPOKEN[word] for word in re.findall(r"[a-z]+", fold(text)) if word in _SPOKEN}


def _side_ranges(text: str, words: dict[str, str], hidden: dict[str, str]) -> dict[str, _Range]:
    ranges = {}
    for side in ("right", "left"):
        said = len(re.findall(rf"(?i)\b(?:{words[side]})\b", text))
        ranges[side] = _Range(said, said + len(re.findall(rf"(?i)\b(?:{hidden[side]})\b", text)))
    return ranges


def _sides(source: str, translation: str) -> list[str]:
    english = re.sub(
        r"(?i)\b(?:was|were|is|are|been|be)\s+left\b|\bleft\s+(?:in|over|behind)\b|\bright\s+away\b", " ", translation
    )
    before = _side_ranges(source, _SIDES_ES, _HIDDEN_ES)
    after = _side_ranges(english, _SIDES_EN, _HIDDEN_EN)
    problems = [
        f"{side}: {before[side]} became {after[side]}" for side in before if not before[side].meets(after[side])
    ]
    if not problems and _order(source, _SIDES_ES) != _order(english, _SIDES_EN) and not _hidden(before, after):
        problems.append("right and left stand in another order")
    return problems


def _hidden(*ranges: dict[str, _Range]) -> bool:
    return any(one.low != one.high for both in ranges for one in both.values())


def _order(text: str, words: dict[str, str]) -> str:
    found = re.finditer(rf"(?i)\b(?:(?P<right>{words['right']})|(?P<left>{words['left']}))\b", text)
    return "".join("R" if match["right"] else "L" for match in found)


def _negations(source: str, translation: str) -> list[str]:
    before, after = (
        _Range(len(certain.findall(text)), len(certain.findall(text)) + len(maybe.findall(text)))
        for text, certain, maybe in ((source, _NOT_ES, _MAYBE_ES), (translation, _NOT_EN, _MAYBE_EN))
    )
    return [] if before.meets(after) else [f"negations: {before} became {after}"]


def _left_as_it_stood(source: str, translation: str) -> list[str]:
    words = re.findall(r"[a-z]+", fold(translation))
    spanish = [word in _SPANISH for word in words]
    run = any(all(spanish[at : at + 3]) for at in range(len(words) - 2))
    same = len(words) > 3 and fold(source).split() == fold(translation).split()
    return ["left in Spanish"] if run or same else []
