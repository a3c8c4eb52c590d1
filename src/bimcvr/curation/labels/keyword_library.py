"""The keyword library: findings, the phrases that name them in two languages, and where they stand in a sentence."""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from bimcvr.curation.text.tokens import Word, fold, sentences
from bimcvr.errors import UserError

_LISTS = ("en", "es", "patterns", "unlike")
_FIELDS = {"label", "parent", "umls", "radlex", *_LISTS}
# the words of a pattern meet within this many words
_REACH = 12
_JOINS = frozenset("and or y o e u ni nor , /".split())


@dataclass(frozen=True)
class Keyword:
    """One finding of the library.

    Attributes:
        label: its canonical name, in BIMCV-R's label words.
        parent: the label of the next wider finding, or empty.
        umls: the UMLS concept, or empty where unknown.
        radlex: the RadLex identifier, or empty where unknown.
        en: English phrases.
        es: Spanish phrases.
        patterns: groups of words that mean the finding where they meet in one clause (see the library file).
        unlike: phrases that hold its words and mean something else (`mass effect`).
    """

    label: str
    parent: str = ""
    umls: str = ""
    radlex: str = ""
    en: tuple[str, ...] = ()
    es: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A finding named in a sentence: `words[first:last]`.

    Attributes:
        label: the finding.
        first: its first word.
        last: one past its last word.
        head: the word that says it; triggers act on this one.
        is_phrase: named by a phrase of the library, else by a pattern.
    """

    label: str
    first: int
    last: int
    head: int
    is_phrase: bool


_Table = dict[str, list[tuple[tuple[str, ...], str]]]


class Library:
    """The findings by label, and the search for their phrases.

    Args:
        keywords: the findings.
    """

    def __init__(self, keywords: Sequence[Keyword]) -> None:
        self.keywords = {keyword.label: keyword for keyword in keywords}
        self._phrases = {language: _table(keywords, language) for language in ("", "en", "es")}
        patterns = [(keyword.label, _groups(pattern)) for keyword in keywords for pattern in keyword.patterns]
        self._patterns = sorted(patterns, key=lambda pattern: -len(pattern[1]))
        self._groups_of: dict[str, list[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self.keywords)

    def without_patterns(self) -> "Library":
        """Return the library with its literal phrases only."""
        return Library([replace(keyword, patterns=()) for keyword in self.keywords.values()])

    def ancestors(self, label: str) -> tuple[str, ...]:
        """Return the wider findings of a label, nearest first."""
        parent = self.keywords[label].parent
        return (parent, *self.ancestors(parent)) if parent else ()

    def places(self, sentence: Sequence[Word], language: str = "") -> list[Place]:
        """Return the findings that a sentence names, in its order: phrases first, then patterns over what they leave.

        Args:
            sentence: its words.
            language: `en` or `es` to search that language's phrases only, both else; patterns are always searched.
        """
        found = list(self._literal(sentence, self._phrases.get(language, self._phrases[""])))
        hits: dict[int, list[list[int]]] = {}
        for i, word in enumerate(sentence):
            for pattern, group in self._matching(word.text):
                hits.setdefault(pattern, [[] for _ in self._patterns[pattern][1]])[group].append(i)
        for pattern in sorted(hits):
            if all(hits[pattern]):
                found = _meetings(sentence, self._patterns[pattern][0], hits[pattern], found)
        return sorted((place for place in found if place.label), key=lambda place: (place.first, place.last))

    def _matching(self, text: str) -> list[tuple[int, int]]:
        """Return the patterns, and the group in each, that a word belongs to."""
        if text not in self._groups_of:
            self._groups_of[text] = [
                (i, j)
                for i, (_, groups) in enumerate(self._patterns)
                for j, group in enumerate(groups)
                if group.fullmatch(text)
            ]
        return self._groups_of[text]

    def _literal(self, sentence: Sequence[Word], table: _Table) -> Iterator[Place]:
        """Yield the longest phrase at each word, from left to right, articles passed over."""
        telling = [i for i, word in enumerate(sentence) if not word.is_article]
        stems = tuple("de" if sentence[i].text == "del" else sentence[i].stem for i in telling)
        at = 0
        while at < len(stems):
            for phrase, label in table.get(stems[at], ()):
                if stems[at : at + len(phrase)] == phrase:
                    yield Place(label, telling[at], telling[at + len(phrase) - 1] + 1, telling[at], True)
                    at += len(phrase)
                    break
            else:
                at += 1


def read_library(path: str | Path | None = None) -> Library:
    """Read a keyword library.

    Args:
        path: a YAML file like `findings.yaml` beside this module; that file itself if None.

    Raises:
        UserError: the file is missing or an entry has an unknown field, no label, a label twice or an unknown parent.
    """
    if path is None:
        return _own()
    if not Path(path).is_file():
        raise UserError(
            f"There is no keyword library at {path}. Give a YAML file like bimcvr/curation/labels/findings.yaml."
        )
    return _library(Path(path).read_text(encoding="utf-8"), str(path))


@functools.cache
def _own() -> Library:
    own = resources.files("bimcvr.curation.labels") / "findings.yaml"
    return _library(own.read_text(encoding="utf-8"), "findings.yaml")


def _library(text: str, name: str) -> Library:
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not YAML: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{name} is not a list of findings (`- label: …`).")
    keywords: dict[str, Keyword] = {}
    for entry in entries:
        label = str(entry.get("label", ""))
        wrong = _wrong(entry) or ("stands twice" if label in keywords else "")
        if wrong:
            raise UserError(
                f"{name}: the finding '{label}' {wrong}. A finding has a label, and any of"
                f" {', '.join(sorted(_FIELDS))}."
            )
        parent, umls, radlex = (str(entry.get(field, "")) for field in ("parent", "umls", "radlex"))
        en, es, patterns, unlike = (tuple(entry.get(field, ())) for field in _LISTS)
        keywords[label] = Keyword(label, parent, umls, radlex, en, es, patterns, unlike)
    for label in keywords:
        line = [label]
        while parent := keywords[line[-1]].parent:
            if parent not in keywords or parent in line:
                wrong = "is no label of the library" if parent not in keywords else "is below it as well"
                raise UserError(f"{name}: the parent '{parent}' of '{line[-1]}' {wrong}.")
            line.append(parent)
    return Library(list(keywords.values()))


def _wrong(entry: dict[str, Any]) -> str:
    """Return what is wrong with an entry of the file, or nothing."""
    if not entry.get("label"):
        return "has no label"
    if set(entry) - _FIELDS:
        return f"has unknown fields {sorted(set(entry) - _FIELDS)}"
    for field in _LISTS:
        items = entry.get(field, [])
        if not isinstance(items, list) or not all(isinstance(item, str) and _stems(item) for item in items):
            return f"has a '{field}' that is not a list of phrases in words (put words like no or 19 in quotes)"
    return ""


def _table(keywords: Sequence[Keyword], language: str) -> _Table:
    """Return the phrases by their first stem, longest first; those that mean something else have no label."""
    table: _Table = {}
    for keyword in keywords:
        texts = (keyword.en if language != "es" else ()) + (keyword.es if language != "en" else ())
        named = {_stems(text): keyword.label for text in texts} | {_stems(text): "" for text in keyword.unlike}
        for stems, label in named.items():
            table.setdefault(stems[0], []).append((stems, label))
    for phrases in table.values():
        phrases.sort(key=lambda phrase: -len(phrase[0]))
    return table


def _stems(phrase: str) -> tuple[str, ...]:
    words = [word for sentence in sentences(phrase) for word in sentence if not word.is_article]
    return tuple("de" if word.text == "del" else word.stem for word in words)


def _groups(pattern: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile("|".join(_alternative(item) for item in group.split("|"))) for group in pattern.split("+"))


def _alternative(item: str) -> str:
    word = fold(item.strip())
    return re.escape(word[:-1]) + ".*" if word.endswith("*") else re.escape(word) + "s?"


def _meetings(sentence: Sequence[Word], label: str, hits: Sequence[Sequence[int]], found: list[Place]) -> list[Place]:
    """Return the findings with those added where words of all of a pattern's groups (`hits`.

    A list a group) meet between two marks.

    A pattern takes words that no phrase owns; it swallows a shorter phrase (`aneurysmal [dilatation of the aorta]`),
    and shares the noun of a phrase beside it (`[derrame pleural] y pericárdico`).
    """
    for head in hits[0]:
        words = {head, *(min(group, key=lambda i: abs(i - head)) for group in hits[1:])}
        first, last = min(words), max(words) + 1
        owners = [place for place in found if place.label and any(place.first <= i < place.last for i in words)]
        taken = any(place.label == label or (place.head == head and not place.is_phrase) for place in owners)
        apart = any(not word.text.isalnum() for word in sentence[first:last])
        if taken or apart or len(words) < len(hits) or last - first > _REACH:
            continue
        phrases = [place for place in owners if place.is_phrase]
        free = [i for i in words if not any(place.first <= i < place.last for place in phrases)]
        within = all(first <= place.first and place.last <= last for place in phrases)
        shared = len(phrases) == 1 and bool(free) and _joined(phrases[0], free, sentence)
        if free and (within or shared):
            found = [place for place in found if shared or place not in phrases] + [
                Place(label, first, last, head, False)
            ]
    return found


def _joined(phrase: Place, free: Sequence[int], sentence: Sequence[Word]) -> bool:
    """Whether the free words stand beside a phrase with only `and` and its like between."""
    if min(free) >= phrase.last:
        between = sentence[phrase.last : min(free)]
    else:
        between = sentence[max(free) + 1 : phrase.first]
    return 1 <= len(between) <= 2 and all(word.text in _JOINS for word in between)
