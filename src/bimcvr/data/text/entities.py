"""HTML character references in reports: exports of web systems write `P&eacute;rez` for `Pérez`."""

import html
import re
from html.entities import html5

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});")
# some exports escape twice or thrice: &amp;eacute;
_LONGEST_CHAIN = 40


def decode_entities(text: str) -> str:
    """Return a text with its HTML character references decoded, also those that were escaped more than once.

    A reference needs its semicolon, and an unknown one stays as it is. Non-breaking spaces become spaces.

    Args:
        text: any text.

    Example:
        >>> decode_entities("P&eacute;rez, 5&nbsp;mm, 12&#47;05, N&amp;uacute;ria, R&D")
        'Pérez, 5 mm, 12/05, Núria, R&D'
    """
    return decode_with_positions(text)[0] if "&" in text else text


def decode_with_positions(text: str) -> tuple[str, list[int]]:
    """Return the decoded text, and for each of its characters, and its end, the position in the original text.

    Args:
        text: any text.
    """
    pieces: list[str] = []
    positions: list[int] = []
    position = 0
    while position < len(text):
        decoded, stop = _decode_at(text, position)
        pieces.append(decoded)
        positions += [position] * len(decoded)
        position = stop
    return "".join(pieces), [*positions, len(text)]


def _decode_at(text: str, start: int) -> tuple[str, int]:
    """Return what stands at a position, decoded, and where the text continues."""
    if text[start] != "&" or not (match := _ENTITY.match(text, start)):
        return text[start], start + 1
    decoded, stop = _character(match.group()), match.end()
    if not decoded:
        return text[start], start + 1
    while decoded == "&" and (match := _ENTITY.match("&" + text[stop : stop + _LONGEST_CHAIN])):
        inner = _character(match.group())
        if not inner:
            break
        decoded, stop = inner, stop + match.end() - 1
    return decoded.replace("\xa0", " "), stop


def _character(reference: str) -> str:
    """Return what a reference stands for; empty if its name is unknown. A text in capitals has `&OACUTE;`."""
    if reference[1] == "#":
        return html.unescape(reference)
    return html5.get(reference[1:]) or html5.get(reference[1:].lower(), "").upper()
