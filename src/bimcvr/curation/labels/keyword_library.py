"""The keyword library: findings, the phrases that name them in two languages, and the search for them in a sentence."""

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from bimcvr.curation.text.tokens import Word, fold, sentences
from bimcvr.errors import UserError
from bimcvr.presets import read_yaml

_LISTS = ("en", "es", "patterns", "unlike", "asks")
_FIELDS = {"label", "parent", "umls", "radlex", *_LISTS}
# the words of a pattern occur within this many words
_REACH = 12
_DENIALS = frozenset("not non no never without sin sense nunca".split())
_JOINS = frozenset("and or y o e u ni nor , /".split())


@dataclass(frozen=True)
class Keyword:
    """One finding of the library.

    Attributes:
        label: its canonical name, in the words of BIMCV-R's labels.
        parent: the label of the next broader finding, or empty.
        umls: the UMLS concept, or empty where unknown.
        radlex: the RadLex identifier, or empty where unknown.
        en: English phrases.
        es: Spanish phrases.
        patterns: groups of words that mean the finding where they occur together in one clause (see the library file).
        unlike: phrases that contain its words but mean something else (`mass effect`).
        asks: sentences that ask for it, where `There is …` is no English (`normal`).
    """

    label: str
    parent: str = ""
    umls: str = ""
    radlex: str = ""
    en: tuple[str, ...] = ()
    es: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeywordMatch:
    """A finding named in a sentence: `words[first:last]`.

    Attributes:
        label: the finding.
        first: its first word.
        last: one past its last word.
        head: the word that names the finding; triggers act on this word.
        is_phrase: whether it was found by a phrase of the library, not by a pattern.
    """

    label: str
    first: int
    last: int
    head: int
    is_phrase: bool


_PhraseIndex = dict[str, list[tuple[tuple[str, ...], str]]]


class KeywordLibrary:
    """Findings by label, and the search for their phrases in a sentence.

    Args:
        keywords: the findings.
    """

    def __init__(self, keywords: Sequence[Keyword]) -> None:
        self.keywords = {keyword.label: keyword for keyword in keywords}
        self._phrases = {language: _phrase_index(keywords, language) for language in ("", "en", "es")}
        patterns = [(keyword.label, _groups(pattern)) for keyword in keywords for pattern in keyword.patterns]
        self._patterns = sorted(patterns, key=lambda pattern: -len(pattern[1]))
        self._groups_of: dict[str, list[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self.keywords)

    def without_patterns(self) -> "KeywordLibrary":
        """Return the library without its patterns."""
        return KeywordLibrary([replace(keyword, patterns=()) for keyword in self.keywords.values()])

    def ancestors(self, label: str) -> tuple[str, ...]:
        """Return the broader findings of a label, nearest first.

        Args:
            label: a label of the library.
        """
        parent = self.keywords[label].parent
        return (parent, *self.ancestors(parent)) if parent else ()

    def find(self, sentence: Sequence[Word], language: str = "") -> list[KeywordMatch]:
        """Return the findings that a sentence names, in order; patterns only match words that no phrase has matched.

        Args:
            sentence: its words.
            language: `en` or `es` to search the phrases of that language only, otherwise both; patterns are always
                searched.
        """
        matches = list(self._literal(sentence, self._phrases.get(language, self._phrases[""])))
        hits: dict[int, list[list[int]]] = {}
        for i, word in enumerate(sentence):
            for pattern, group in self._matching(word.text):
                hits.setdefault(pattern, [[] for _ in self._patterns[pattern][1]])[group].append(i)
        for pattern in sorted(hits):
            if all(hits[pattern]):
                matches = _add_pattern(sentence, self._patterns[pattern][0], hits[pattern], matches)
        return sorted((match for match in matches if match.label), key=lambda match: (match.first, match.last))

    def _matching(self, text: str) -> list[tuple[int, int]]:
        """Return (pattern, group in the pattern) for each group of a pattern that a word belongs to."""
        if text not in self._groups_of:
            self._groups_of[text] = [
                (i, j)
                for i, (_, groups) in enumerate(self._patterns)
                for j, group in enumerate(groups)
                if group.fullmatch(text)
            ]
        return self._groups_of[text]

    def _literal(self, sentence: Sequence[Word], table: _PhraseIndex) -> Iterator[KeywordMatch]:
        """Yield the longest phrase at each word, from left to right; articles are ignored."""
        content = [i for i, word in enumerate(sentence) if not word.is_article]
        stems = tuple("de" if sentence[i].text == "del" else sentence[i].stem for i in content)
        position = 0
        while position < len(stems):
            for phrase, label in table.get(stems[position], ()):
                if stems[position : position + len(phrase)] == phrase:
                    yield KeywordMatch(
                        label, content[position], content[position + len(phrase) - 1] + 1, content[position], True
                    )
                    position += len(phrase)
                    break
            else:
                position += 1


def read_library(path: str | Path | None = None) -> KeywordLibrary:
    """Read a keyword library.

    Args:
        path: a YAML file in the format of `findings.yaml` beside this module; that file if None.

    Raises:
        UserError: the file is missing, or an entry has an unknown field, an unknown parent, or no label of its own.
    """
    if path is None:
        return _shipped_library()
    if not Path(path).is_file():
        raise UserError(
            f"There is no keyword library at {path}. Give a YAML file like bimcvr/curation/labels/findings.yaml."
        )
    return _library_of(read_yaml(Path(path)), str(path))


def shipped_rules() -> str:
    """Return the name of the shipped library, with the first 16 hex digits of its sha256."""
    return f"findings.yaml {hashlib.sha256(_shipped_text().encode()).hexdigest()[:16]}"


@functools.cache
def _shipped_library() -> KeywordLibrary:
    return _library_of(yaml.safe_load(_shipped_text()), "findings.yaml")


def _shipped_text() -> str:
    return (resources.files("bimcvr.curation.labels") / "findings.yaml").read_text(encoding="utf-8")


def _library_of(entries: Any, name: str) -> KeywordLibrary:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{name} is not a list of findings (`- label: …`).")
    keywords: dict[str, Keyword] = {}
    for entry in entries:
        label = str(entry.get("label", ""))
        problem = _problem(entry) or ("appears more than once" if label in keywords else "")
        if problem:
            raise UserError(
                f"{name}: the finding '{label}' {problem}. A finding has a label, and any of"
                f" {', '.join(sorted(_FIELDS))}."
            )
        parent, umls, radlex = (str(entry.get(field, "")) for field in ("parent", "umls", "radlex"))
        en, es, patterns, unlike, asks = (tuple(entry.get(field, ())) for field in _LISTS)
        keywords[label] = Keyword(label, parent, umls, radlex, en, es, patterns, unlike, asks)
    for label in keywords:
        path = [label]
        while parent := keywords[path[-1]].parent:
            if parent not in keywords or parent in path:
                problem = "is no label of the library" if parent not in keywords else "is also one of its descendants"
                raise UserError(f"{name}: the parent '{parent}' of '{path[-1]}' {problem}.")
            path.append(parent)
    return KeywordLibrary(list(keywords.values()))


def _problem(entry: dict[str, Any]) -> str:
    """Return what is wrong with an entry of the file; empty if it is valid."""
    if not entry.get("label"):
        return "has no label"
    if set(entry) - _FIELDS:
        return f"has unknown fields {sorted(set(entry) - _FIELDS)}"
    for field in _LISTS:
        items = entry.get(field, [])
        if not isinstance(items, list) or not all(isinstance(item, str) and _stems(item) for item in items):
            return f"has a '{field}' that is not a list of phrases in words (put words like no or 19 in quotes)"
    return ""


def _phrase_index(keywords: Sequence[Keyword], language: str) -> _PhraseIndex:
    """Return the phrases by their first stem, longest first; those in `unlike` have an empty label."""
    table: _PhraseIndex = {}
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


def _add_pattern(
    sentence: Sequence[Word], label: str, hits: Sequence[Sequence[int]], matches: list[KeywordMatch]
) -> list[KeywordMatch]:
    """Return the matches with those of a pattern added: words of all its groups with no punctuation between them.

    A pattern needs a word that no phrase has matched. It replaces a shorter phrase within it (`aneurysmal [dilatation
    of the aorta]`), and shares the noun of a phrase beside it (`[derrame pleural] y pericárdico`).

    Args:
        sentence: its words.
        label: the finding of the pattern.
        hits: for each group of the pattern, the positions of its words.
        matches: the matches so far.
    """
    for head in hits[0]:
        words = {head, *(min(group, key=lambda i: abs(i - head)) for group in hits[1:])}
        first, last = min(words), max(words) + 1
        overlapping = [match for match in matches if match.label and any(match.first <= i < match.last for i in words)]
        known = any(match.label == label or (match.head == head and not match.is_phrase) for match in overlapping)
        divided = any(not word.text.isalnum() for word in sentence[first:last])
        if known or divided or len(words) < len(hits) or last - first > _REACH:
            continue
        phrases = [match for match in overlapping if match.is_phrase]
        free = [i for i in words if not any(match.first <= i < match.last for match in phrases)]
        within = all(first <= match.first and match.last <= last for match in phrases)
        shared = len(phrases) == 1 and bool(free) and _joined(phrases[0], free, sentence)
        # `the nodule is not calcified` names a nodule, and no calcified one
        denied = bool(phrases) and any(word.text in _DENIALS for word in sentence[first:last])
        if free and not denied and (within or shared):
            matches = [match for match in matches if shared or match not in phrases]
            matches.append(KeywordMatch(label, first, last, head, False))
    return matches


def _joined(phrase: KeywordMatch, free: Sequence[int], sentence: Sequence[Word]) -> bool:
    """Return whether some words are beside a phrase with only a conjunction between them."""
    if min(free) >= phrase.last:
        between = sentence[phrase.last : min(free)]
    else:
        between = sentence[max(free) + 1 : phrase.first]
    return 1 <= len(between) <= 2 and all(word.text in _JOINS for word in between)
