"""The words of a report with their positions, normalised for case, accents, plural and gender."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bimcvr.data.text.entities import decode_with_positions

# accents may be letters of their own (decomposed Unicode); `isn't` is two words, `(-)` and `(+)` are one
_WORD = re.compile(
    r"(?i:[a-z]+(?=n['’´]t\b)|n['’´]t\b)|\([-–−+]\)|[^\W_][^\W_\u0300-\u036f]*(?:[\u0300-\u036f]+[^\W_]*)*|[^\w\s]|\n"
)
# `Pleural effusion? No.` is a heading with its answer
_ANSWER = re.compile(r"(?i)\s*(?:no|none|absent|negative|yes|present|s[ií]|ausente|negativo|presente)\s*(?:[.;,\n]|$)")
_ABBREVIATIONS = frozenset(("vs", "dx"))
_SHORT_FORMS = {"ca": "can", "wo": "will", "sha": "shall"}
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
    digit or a bullet. Hyphens count as blanks, and the marks that end sentences are left out, but for `?`, which tells
    a question. A `?` before a word (`?pneumonia`) or in brackets ends no sentence. HTML entities are decoded.
    `data.text.sentences.split_sentences` returns sentences as text instead, for encoders and for display.

    Args:
        report: the text; positions of words are positions in it.
    """
    text, positions = decode_with_positions(report) if "&" in report else (report, range(len(report) + 1))
    breaks = {match.start() for match in _PARAGRAPH.finditer(text)}
    sentence: list[Word] = []
    for match in _WORD.finditer(text):
        mark, start = match.group(), match.start()
        decimal = mark == "." and text[start - 1 : start].isdigit() and text[start + 1 : start + 2].isdigit()
        short = mark == "." and bool(sentence) and sentence[-1].text in _ABBREVIATIONS
        ends = mark in ".!;" and not decimal and not short
        question = mark == "?" and bool(sentence) and text[start - 1 : start] not in (" ", "(", "\n", "")
        if question and _ANSWER.match(text, match.end()):
            mark, question = ":", False
        if question:
            sentence.append(Word(mark, mark, positions[start], positions[match.end()]))
        if start in breaks or ends or question:
            if sentence:
                yield sentence
            sentence = []
        elif mark not in "-\n" and not short:
            sentence.append(_word(mark, text, match, positions))
    if sentence:
        yield sentence


def _word(mark: str, text: str, match: re.Match[str], positions: Sequence[int]) -> Word:
    folded = fold(mark)
    if folded[1:] in ("'t", "’t", "´t"):
        folded = "not"
    elif folded in _SHORT_FORMS and text[match.end() : match.end() + 2].lower() in ("n'", "n’", "n´"):
        folded = _SHORT_FORMS[folded]
    elif folded in ("(–)", "(−)"):
        folded = "(-)"
    return Word(folded, stem(folded), positions[match.start()], positions[match.end()])


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
