"""The keyword library: findings, the phrases that name them in two languages, and where they stand in a sentence."""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import yaml

from bimcvr.curation.words import Word, fold, sentences, stem
from bimcvr.errors import UserError

_FIELDS = {"label", "parent", "umls", "radlex", "en", "es", "patterns"}
# the words of a pattern meet within this many words
_REACH = 9
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
    """

    label: str
    parent: str = ""
    umls: str = ""
    radlex: str = ""
    en: tuple[str, ...] = ()
    es: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A finding named in a sentence: `words[first:last]`, said by the word at `head`."""

    label: str
    first: int
    last: int
    head: int


class Library:
    """The findings by label, and the search for their phrases.

    Args:
        keywords: the findings.
        language: `en` or `es` to search that language's phrases only; patterns are always searched.
    """

    def __init__(self, keywords: Sequence[Keyword], language: str = "") -> None:
        self.keywords = {keyword.label: keyword for keyword in keywords}
        self._phrases: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        self._patterns: list[tuple[str, tuple[re.Pattern[str], ...]]] = []
        for keyword in keywords:
            texts = (keyword.en if language != "es" else ()) + (keyword.es if language != "en" else ())
            for stems in {_stems(text) for text in texts}:
                self._phrases.setdefault(stems[0], []).append((stems, keyword.label))
            self._patterns += [(keyword.label, _groups(pattern)) for pattern in keyword.patterns]
        for phrases in self._phrases.values():
            phrases.sort(key=lambda phrase: -len(phrase[0]))
        self._patterns.sort(key=lambda pattern: -len(pattern[1]))

    def __len__(self) -> int:
        return len(self.keywords)

    def without_patterns(self) -> "Library":
        """Return the library with its literal phrases only."""
        return Library([replace(keyword, patterns=()) for keyword in self.keywords.values()])

    def ancestors(self, label: str) -> tuple[str, ...]:
        """Return the wider findings of a label, nearest first."""
        parent = self.keywords[label].parent
        return (parent, *self.ancestors(parent)) if parent else ()

    def places(self, sentence: Sequence[Word]) -> list[Place]:
        """Return the findings that a sentence names, in its order: phrases first, then patterns over what they leave."""
        found = list(self._literal(sentence))
        for label, groups in self._patterns:
            found += self._pattern(sentence, label, groups, found)
        return sorted(found, key=lambda place: (place.first, place.last))

    def _literal(self, sentence: Sequence[Word]) -> Iterator[Place]:
        """Yield the longest phrase at each word, from left to right, articles passed over."""
        telling = [i for i, word in enumerate(sentence) if not word.is_article]
        stems = tuple("de" if sentence[i].text == "del" else sentence[i].stem for i in telling)
        at = 0
        while at < len(stems):
            for phrase, label in self._phrases.get(stems[at], ()):
                if stems[at : at + len(phrase)] == phrase:
                    yield Place(label, telling[at], telling[at + len(phrase) - 1] + 1, telling[at])
                    at += len(phrase)
                    break
            else:
                at += 1

    def _pattern(
        self, sentence: Sequence[Word], label: str, groups: tuple[re.Pattern[str], ...], found: Sequence[Place]
    ) -> Iterator[Place]:
        """Yield the tightest meeting of the groups' words between two marks, if it is not another finding's already."""
        hits = [[i for i, word in enumerate(sentence) if _matches(group, word.text)] for group in groups]
        if not all(hits):
            return
        for head in hits[0]:
            others = [min(group, key=lambda i: abs(i - head)) for group in hits[1:]]
            places = {head, *others}
            first, last = min(places), max(places) + 1
            apart = any(not word.text.isalnum() for word in sentence[first:last])
            if len(places) == len(groups) and last - first <= _REACH and not apart and _free(places, found, sentence):
                yield Place(label, first, last, head)
                return


def read_library(path: str | Path | None = None, language: str = "") -> Library:
    """Read a keyword library.

    Args:
        path: a YAML file like `data_manifests/findings.yaml`; that file itself if None.
        language: `en` or `es` to search that language's phrases only.

    Raises:
        UserError: the file is missing or an entry has an unknown field, no label, a label twice or an unknown parent.
    """
    if path is None:
        return _own(language)
    if not Path(path).is_file():
        raise UserError(f"There is no keyword library at {path}. Give a YAML file like data_manifests/findings.yaml.")
    return _library(Path(path).read_text(encoding="utf-8"), str(path), language)


@functools.lru_cache(maxsize=3)
def _own(language: str) -> Library:
    own = resources.files("bimcvr") / "data_manifests" / "findings.yaml"
    return _library(own.read_text(encoding="utf-8"), "findings.yaml", language)


def _library(text: str, name: str, language: str) -> Library:
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not YAML: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{name} is not a list of findings (`- label: …`).")
    keywords: dict[str, Keyword] = {}
    for entry in entries:
        label = str(entry.get("label", ""))
        unknown = set(entry) - _FIELDS
        if not label or label in keywords or unknown:
            wrong = f"has unknown fields {sorted(unknown)}" if unknown else "stands twice" if label else "has no label"
            raise UserError(f"{name}: the finding '{label}' {wrong}. A finding has {', '.join(sorted(_FIELDS))}.")
        lists = {field: tuple(str(item) for item in entry.get(field, ())) for field in ("en", "es", "patterns")}
        keywords[label] = Keyword(label, *(str(entry.get(field, "")) for field in ("parent", "umls", "radlex")), **lists)
    for keyword in keywords.values():
        if keyword.parent and keyword.parent not in keywords:
            raise UserError(f"{name}: the parent '{keyword.parent}' of '{keyword.label}' is no label of the library.")
    return Library(list(keywords.values()), language)


def _stems(phrase: str) -> tuple[str, ...]:
    words = [word for sentence in sentences(phrase) for word in sentence if not word.is_article]
    return tuple("de" if word.text == "del" else word.stem for word in words)


def _groups(pattern: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile("|".join(_alternative(item) for item in group.split("|"))) for group in pattern.split("+"))


def _alternative(item: str) -> str:
    word = fold(item.strip())
    return re.escape(word[:-1]) + ".*" if word.endswith("*") else re.escape(word) + "s?"


@functools.lru_cache(maxsize=1 << 16)
def _matches(group: re.Pattern[str], word: str) -> bool:
    return group.fullmatch(word) is not None


def _free(places: set[int], found: Sequence[Place], sentence: Sequence[Word]) -> bool:
    """Whether the words are no phrase's yet, or share one's noun by `and` (`derrame pleural y pericárdico`)."""
    owners = [place for place in found if any(place.first <= i < place.last for i in places)]
    if not owners:
        return True
    owner = owners[0]
    free = [i for i in places if not owner.first <= i < owner.last]
    if len(owners) > 1 or not free:
        return False
    between = sentence[owner.last : min(free)] if min(free) >= owner.last else sentence[max(free) + 1 : owner.first]
    return 1 <= len(between) <= 2 and all(word.text in _JOINS for word in between)
