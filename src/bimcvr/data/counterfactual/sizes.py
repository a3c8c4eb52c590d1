"""Sizes for `changes.py`: scaled lengths, and Spanish adjectives inflected for their noun."""

import re
from decimal import ROUND_HALF_UP, Decimal

from bimcvr.data.counterfactual.language_rules import fold

_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_BEFORE_ADJECTIVE = re.compile(
    r"|una?|el|la|l[oa]s|un[oa]s|de|del|al|con|y|e|o|dos|tres|otr[oa]s?|vari[oa]s|multiples|muy|hay|"
    r"\w+ndo(?:se)?|(?:observ|apreci|identific|visualiz|objetiv|evidenci|detect|present|exist|muestr|contien)\w*"
)
_FEMININE = re.compile(r"(?<!m)as?$|[cs]ion(?:es)?$|dad(?:es)?$|[st]is$|imagen(?:es)?$")


def scaled(measure: str) -> str:
    """Return a clearly different length: 2.5 times as large up to 20 mm, 0.4 times above."""
    to_mm = 1 if re.search(r"mm|mil", measure, re.IGNORECASE) else 10
    largest = max(Decimal(number.replace(",", ".")) for number in _NUMBER.findall(measure))
    factor = Decimal("2.5") if largest * to_mm <= 20 else Decimal("0.4")

    def scale(found: re.Match[str]) -> str:
        number = Decimal(found[0].replace(",", "."))
        unit = Decimal(1).scaleb(number.as_tuple().exponent)  # type: ignore[arg-type]
        new = max((number * factor).quantize(unit, ROUND_HALF_UP), unit) if number else number
        return str(new).replace(".", "," if "," in found[0] else ".")

    return _NUMBER.sub(scale, measure)


def agreed(new: str, before: str, after: str) -> str:
    """Inflect a Spanish adjective: gran or grande by its position, pequeño or pequeña by its noun."""
    left = re.findall(r"(\w+)\s*$", fold(before)) or [""]
    right = re.findall(r"^\s+(\w+)", fold(after)) or [""]
    leading = _BEFORE_ADJECTIVE.fullmatch(left[0]) is not None
    before_noun = leading and right[0] not in ("", "de", "del", "en", "con", "y", "o", "a", "al", "que")
    if new == "gran*":
        return "gran" if before_noun else "grande"
    noun = right[0] if before_noun else left[0]
    return new.replace("*", "a" if _FEMININE.search(noun) else "o")
