"""Marking, in a report as it stands, the words that a finding of the audit names."""

import re
import unicodedata

from markupsafe import Markup, escape

from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.text.lexicons import SPANISH, plain


def offending_words(finding: Finding, report: str) -> list[str]:
    """Return the words that gave a report away, as `plain` writes them; empty where its words are not the reason."""
    if finding.flag in ("placeholder", "wrong_modality"):
        # the detectors quote what they saw
        quoted = finding.evidence[finding.evidence.find("'") + 1 : finding.evidence.rfind("'")]
        return [word for word in quoted.split("', '") if word] if "'" in finding.evidence else []
    if finding.flag == "untranslated":
        return sorted(SPANISH & set(re.findall(r"[^\W\d_]+", plain(report))))
    return []


def marked(report: str, words: list[str], most: int = 4000) -> Markup:
    """Return a report, escaped, with `<mark>` round some words; cut after `most` characters.

    Args:
        report: as it stands in the manifest.
        words: in lower case, without accents, with single spaces; they are found as whole words whatever their case,
            accents and spaces.
        most: characters shown.
    """
    folded, places = _folded(report)
    hit = [False] * len(report)
    for word in words:
        # a quotation may be cut within a word, so only its beginning is that of a word
        whole = r"(?!\w)" if word in SPANISH else ""
        for found in re.finditer(r"(?<!\w)" * word[0].isalnum() + re.escape(word) + whole, folded):
            first, last = places[found.start()], places[found.end() - 1]
            hit[first : last + 1] = [True] * (last + 1 - first)
    pieces, begin = [], 0
    shown = report[:most]
    for place in range(1, len(shown) + 1):
        if place == len(shown) or hit[place] != hit[begin]:
            piece = escape(shown[begin:place])
            pieces.append(Markup("<mark>{}</mark>").format(piece) if hit[begin] else piece)
            begin = place
    return Markup("").join(pieces) + ("…" if len(report) > most else "")


def _folded(report: str) -> tuple[str, list[int]]:
    """Return a text as `plain` writes it, and for each of its characters the place of the one it came from."""
    letters: list[str] = []
    places: list[int] = []
    for place, char in enumerate(report):
        for letter in unicodedata.normalize("NFKD", char.lower()):
            if unicodedata.combining(letter):
                continue
            if not letter.isspace():
                letters.append(letter)
                places.append(place)
            elif letters and letters[-1] != " ":
                letters.append(" ")
                places.append(place)
    return "".join(letters), places
