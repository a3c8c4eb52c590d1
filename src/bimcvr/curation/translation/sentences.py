"""Sentence splitting for translation, where no character may be lost: list numbers and bullets stay in their sentence.

`data.text.sentences.split_sentences` drops list marks and joins wrapped lines, as encoders need it;
`curation.text.tokens.sentences` returns normalised words, as the label rules need them.
"""

import re

_TO_TRANSLATE = re.compile(r"(?<=[.;!?])\s+(?=[A-ZÁÉÍÓÚÑ¿¡\[])|\n+")
_TO_COMPARE = re.compile(r"(?<!\d)[.;](?=\s|$)|(?<=\d)[.;](?=\s+[A-ZÁÉÍÓÚÑ]|\s*$)|\n+")


def sentences_to_translate(line: str) -> list[str]:
    """Split a line at end marks that a capital follows, so that a model never gets half a sentence.

    Args:
        line: one line of a report.
    """
    return [part for part in _TO_TRANSLATE.split(line) if part.strip()]


def sentences_to_compare(text: str) -> list[str]:
    """Split a text at every full stop, semicolon and line break, without these marks.

    It does not look at capitals after words, since a translation may have others than its source.

    Args:
        text: a report in Spanish or English.
    """
    return [text[start:end] for start, end in places_to_compare(text)]


def places_to_compare(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of `sentences_to_compare` are: (first character, one past the last).

    Args:
        text: a report in Spanish or English.
    """
    marks = [(match.start(), match.end()) for match in _TO_COMPARE.finditer(text)]
    starts, ends = [0, *(end for _, end in marks)], [*(start for start, _ in marks), len(text)]
    return [place for place in zip(starts, ends, strict=True) if re.search(r"\w", text[slice(*place)])]
