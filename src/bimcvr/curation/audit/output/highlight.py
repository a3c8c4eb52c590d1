"""Highlighting the words of a report that triggered a flag: their places, and as HTML."""

import re
import unicodedata
from itertools import pairwise

from markupsafe import Markup, escape

from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.text.lexicons import SPANISH, plain


def offending_words(finding: Finding, report: str) -> list[str]:
    """Return the words of a report that triggered a flag, in the form of `plain`; empty if words are not the reason.

    Args:
        finding: the flag with its evidence.
        report: the report.
    """
    if finding.flag in ("placeholder", "wrong_modality"):
        # these checks quote the words in their evidence
        quoted = finding.evidence[finding.evidence.find("'") + 1 : finding.evidence.rfind("'")]
        return [word for word in quoted.split("', '") if word] if "'" in finding.evidence else []
    if finding.flag == "untranslated":
        return sorted(SPANISH & set(re.findall(r"[^\W\d_]+", plain(report))))
    return []


def word_spans(report: str, words: list[str]) -> list[tuple[int, int]]:
    """Return where some words are in a report: (first character, one past the last), ascending, none overlapping.

    Args:
        report: the text as it is in the manifest.
        words: in lower case, without accents, with single spaces; they match whole words regardless of case, accents
            and spaces.
    """
    folded, positions = _folded(report)
    highlighted = [False] * len(report)
    for word in words:
        # a quotation may end within a word, so only its beginning must be that of a word
        whole = r"(?!\w)" if word in SPANISH else ""
        for match in re.finditer(r"(?<!\w)" * word[0].isalnum() + re.escape(word) + whole, folded):
            first, last = positions[match.start()], positions[match.end() - 1]
            highlighted[first : last + 1] = [True] * (last + 1 - first)
    edges = [place for place, (one, next_) in enumerate(pairwise([False, *highlighted, False])) if one != next_]
    return list(zip(edges[::2], edges[1::2], strict=True))


def highlight(report: str, words: list[str], most: int = 4000) -> Markup:
    """Return a report as escaped HTML with `<mark>` around some words, truncated after `most` characters.

    Args:
        report: the text as it is in the manifest.
        words: as of `word_spans`.
        most: the number of characters shown.
    """
    pieces, done = [], 0
    for start, end in word_spans(report, words):
        if start < most:
            pieces += [escape(report[done:start]), Markup("<mark>{}</mark>").format(report[start : min(end, most)])]
            done = end
    return Markup("").join([*pieces, escape(report[done:most])]) + ("…" if len(report) > most else "")


def _folded(report: str) -> tuple[str, list[int]]:
    """Return a text in the form of `plain`, and the position in the text of each of its characters."""
    letters: list[str] = []
    positions: list[int] = []
    for position, char in enumerate(report):
        for letter in unicodedata.normalize("NFKD", char.lower()):
            if unicodedata.combining(letter):
                continue
            if not letter.isspace():
                letters.append(letter)
                positions.append(position)
            elif letters and letters[-1] != " ":
                letters.append(" ")
                positions.append(position)
    return "".join(letters), positions
