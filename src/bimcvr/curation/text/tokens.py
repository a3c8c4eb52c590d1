"""The words of a report with their positions, normalised for case, accents, plural and gender."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# accents may be letters of their own (decomposed Unicode)
_WORD = re.compile(r"[^\W_][^\W_\u0300-\u036f]*(?:[\u0300-\u036f]+[^\W_]*)*|[^\w\s]|\n")
# a line continues if the next one begins with a small letter: reports are often wrapped at a column
_PARAGRAPH = re.compile(r"\n[ \t\r]*(?=\n|[-*•·]|[^\Wa-záéíóúñü]|$)")
_ARTICLES = frozenset("a an the el la los las un una unos unas".split())


@dataclass(frozen=True)
class Word:
    """A word or a punctuation mark.

    Attributes:
        text: without case and accents.
        stem: `text` without plural and gender, equal for English and Spanish forms of one word's inflections.
        start: its first character in the report.
        end: one past its last character.
    """

    text: str
    stem: str
    start: int
    end: int

    @property
    def is_article(self) -> bool:
        """Whether the word is an article: phrases match with or without it."""
        return self.text in _ARTICLES


def sentences(report: str) -> Iterator[list[Word]]:
    """Yield the words of each sentence, for the rules that match phrases in a sentence.

    A sentence ends at `.`, `!`, `?`, `;` (not inside a number), at a blank line, and at a line end before a capital, a
    digit or a bullet. Hyphens count as blanks, and the marks that end sentences are left out.
    `data.text.sentences.split_sentences` returns sentences as text instead, for encoders and for display.

    Args:
        report: the text.
    """
    breaks = {match.start() for match in _PARAGRAPH.finditer(report)}
    sentence: list[Word] = []
    for match in _WORD.finditer(report):
        mark, start = match.group(), match.start()
        decimal = mark == "." and report[start - 1 : start].isdigit() and report[start + 1 : start + 2].isdigit()
        if start in breaks or (mark in ".!?;" and not decimal):
            if sentence:
                yield sentence
            sentence = []
        elif mark not in "-\n":
            text = fold(mark)
            sentence.append(Word(text, stem(text), start, match.end()))
    if sentence:
        yield sentence


def fold(text: str) -> str:
    """Return the text in lower case without accents; ligatures are decomposed."""
    if text.isascii():
        return text.lower()
    return "".join(char for char in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(char))


def stem(text: str) -> str:
    """Return a folded word without plural and gender.

    A stem serves for matching only and need not be a word: both sides of a comparison are stemmed.

    Example:
        >>> [stem(word) for word in ("effusions", "opacities", "atelectases", "nodulos")]
        ['effusion', 'opacity', 'atelectasis', 'nodul']
        >>> [stem(word) for word in ("calcificada", "consolidaciones", "mass")]
        ['calcificad', 'consolidacion', 'mass']
    """
    if len(text) < 4 or not text.isalpha():
        return text
    if text.endswith("ases") and len(text) > 6:
        return text[:-2] + "is"
    if text.endswith("ies") and len(text) > 5:
        return text[:-3] + "y"
    if text.endswith("ae") and len(text) > 5:
        text = text[:-1]
    elif text.endswith(("sses", "xes", "ches")):
        text = text[:-2]
    elif text.endswith("s") and not text.endswith(("ss", "is", "us")):
        text = text[:-1]
    return text[:-1] if len(text) > 5 and text[-1] in "aeo" else text
