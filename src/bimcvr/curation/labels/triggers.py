"""The triggers of a sentence: words that negate a finding, doubt it, or place it in the past, as in ConText."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bimcvr.curation.labels.keyword_library import KeywordMatch
from bimcvr.curation.labels.negation_triggers import TERMINATORS, TRIGGERS
from bimcvr.curation.labels.trigger_words import (
    ADJECTIVES_OF_CHANGE,
    ANSWER_WORDS,
    AT,
    CHANGE,
    CHANGE_AS_CAUSE,
    DENIALS,
    EARLIER,
    EXCLUSION,
    KNOWN,
    LINKS,
    NEW,
    NOW,
    OR,
    PARTIAL,
    RESOLUTION,
)
from bimcvr.curation.text.tokens import Word

_BREAKS = frozenset(", ; : ( ) and or nor y o e u ni (-) (+)".split())
# a denial and the word that it denies have at most this many words between them
_LINK_REACH = 6
_CHANGE_REACH = 5
_PARTIAL_REACH = 3
_EARLIER_REACH = 7
_THE = frozenset("the el la los las del".split())
_OF = frozenset("of in del de en".split())
_TriggerIndex = dict[str, list[tuple[tuple[str, ...], str, str]]]


@dataclass(frozen=True)
class Trigger:
    """A trigger in a sentence: `words[first:last]`.

    Attributes:
        kind: absent, uncertain, history, pseudo or stop.
        side: where it acts (see `negation_triggers.TRIGGERS`); `change` for a denied change, which acts nowhere.
        first: its first word.
        last: one past its last word.
    """

    kind: str
    side: str
    first: int
    last: int


def find_triggers(sentence: Sequence[Word], matches: Sequence[KeywordMatch] = ()) -> list[Trigger]:
    """Return the triggers and terminators of a sentence from left to right, the longest at each word.

    Four combinations of words make one trigger, whatever stands between their words: a denied exclusion (`not
    entirely excluded`) is a doubt; a denied change (`no interval growth of`) and a partial resolution deny nothing,
    nor does what
    was absent before (`not seen on the prior study`).

    Args:
        sentence: its words.
        matches: the findings it names; no combination extends over one.
    """
    texts = tuple(word.text for word in sentence)
    taken = {i for match in matches for i in range(match.first, match.last)}
    listed = _listed_triggers(texts)
    combined = [
        *_denied_exclusions(texts, taken),
        *_denied_changes(texts, listed, taken, matches),
        *_partial_resolutions(texts, taken),
        *_absent_earlier(texts, listed, taken),
        *_what_is_known(texts),
    ]
    covered = {i for trigger in combined for i in range(trigger.first, trigger.last)}
    kept = [trigger for trigger in listed if not covered.intersection(range(trigger.first, trigger.last))]
    return sorted([*kept, *_without_overlap(combined)], key=lambda trigger: trigger.first)


def _listed_triggers(texts: tuple[str, ...]) -> list[Trigger]:
    triggers: list[Trigger] = []
    position = 0
    while position < len(texts):
        length = 0
        for phrase, kind, side in _trigger_index().get(texts[position], ()):
            if len(phrase) < length:
                break
            if texts[position : position + len(phrase)] == phrase:
                length = len(phrase)
                # `tampoco` `se observan`: the verb of a negation begins no new clause
                if kind != "stop" or not any(
                    other.last == position and other.side in ("after", "both") for other in triggers
                ):
                    triggers.append(Trigger(kind, side, position, position + length))
        position += length or 1
    return triggers


def _without_overlap(triggers: Sequence[Trigger]) -> list[Trigger]:
    kept: list[Trigger] = []
    for trigger in triggers:
        if not any(trigger.first < other.last and other.first < trigger.last for other in kept):
            kept.append(trigger)
    return kept


def _denied_exclusions(texts: Sequence[str], taken: set[int]) -> Iterator[Trigger]:
    """Yield `not entirely excluded`, `no cabe descartar`, `difficult to exclude`, `should be ruled out`."""
    for first, text in enumerate(texts):
        if text not in DENIALS or first in taken:
            continue
        for i in range(first + 1, min(first + 2 + _LINK_REACH, len(texts))):
            if texts[i] in EXCLUSION and i not in taken:
                last = i + 2 if texts[i + 1 : i + 2] == ("out",) else i + 1
                if not texts[i].startswith(("rule", "ruling")) or last == i + 2:
                    yield Trigger("uncertain", "both", first, last)
                break
            if texts[i] not in LINKS:
                break


def _denied_changes(
    texts: Sequence[str], listed: Sequence[Trigger], taken: set[int], matches: Sequence[KeywordMatch]
) -> Iterator[Trigger]:
    """Yield `no significant interval change`, `has not resolved`, `no se observan cambios`."""
    first_words = {match.first for match in matches}
    for trigger in listed:
        lead = texts[trigger.first]
        denies = trigger.kind == "absent" and trigger.side in ("after", "both")
        if not (denies or lead in DENIALS) or trigger.kind in ("history", "stop"):
            continue
        start = trigger.first + 1 if lead in DENIALS else trigger.last
        for i in range(start, min(trigger.last + 1 + _CHANGE_REACH, len(texts))):
            if texts[i] in _BREAKS or i in taken:
                break
            is_change = texts[i] in CHANGE or (texts[i] in ADJECTIVES_OF_CHANGE and lead not in ("no", "without"))
            if is_change:
                if not _is_cause(texts, i, first_words):
                    yield Trigger("pseudo", "change", trigger.first, i + 1)
                    yield from _what_is_new(texts, i + 1)
                break


def _what_is_known(texts: Sequence[str]) -> Iterator[Trigger]:
    """Yield an end of scopes at `no cavitation [of the known] nodule`, but not at `no evidence of known emphysema`."""
    for i, text in enumerate(texts):
        if text in KNOWN and i > 2 and texts[i - 1] in _THE:
            first = i - 2 if texts[i - 2] in _OF else i - 1
            if (texts[first] in _OF or texts[first] == "del") and texts[first - 1] not in ANSWER_WORDS:
                yield Trigger("stop", "", first, i + 1)


def _absent_earlier(texts: Sequence[str], listed: Sequence[Trigger], taken: set[int]) -> Iterator[Trigger]:
    """Yield `not identified on the previous CT`, `was absent on the prior study`, `ausente en el estudio previo`."""
    for trigger in listed:
        words = texts[trigger.first : trigger.last]
        denied = len(words) > 1 and not {"no", "not"}.isdisjoint(words)
        seen = trigger.kind == "absent" and (denied or words[-1] in ("absent", "ausente", "ausentes"))
        following = texts[trigger.last : trigger.last + _EARLIER_REACH]
        if not seen or "longer" in words or words[0] == "ya" or not following or following[0] not in AT:
            continue
        for i in range(trigger.last, min(trigger.last + _EARLIER_REACH, len(texts))):
            if texts[i] in _BREAKS or i in taken or texts[i] in NOW:
                break
            if texts[i] in EARLIER and not NOW.intersection(following):
                yield Trigger("pseudo", "", trigger.first, i + 1)
                break


def _what_is_new(texts: Sequence[str], start: int) -> Iterator[Trigger]:
    for i in range(start, len(texts) - 1):
        if texts[i] in (";", ":"):
            return
        if texts[i] in OR and texts[i + 1] in NEW:
            yield Trigger("absent", "after", i, i + 2)


def _is_cause(texts: Sequence[str], i: int, first_words: set[int]) -> bool:
    """Return whether a word of change names a finding: `sin cambios sugestivos de neumonía`, `changes of emphysema`."""
    after = texts[i + 1] if i + 1 < len(texts) else ""
    return after in CHANGE_AS_CAUSE or (
        texts[i] in ("changes", "cambios") and after in ("of", "de", "por") and i + 2 in first_words
    )


def _partial_resolutions(texts: Sequence[str], taken: set[int]) -> Iterator[Trigger]:
    """Yield `near complete interval resolution`, `has partially resolved`, `ha desaparecido casi por completo`."""
    for i, text in enumerate(texts):
        if text not in RESOLUTION or i in taken:
            continue
        first, last = max(0, i - _PARTIAL_REACH), min(len(texts), i + 1 + _PARTIAL_REACH)
        before = next((j for j in range(i - 1, first - 1, -1) if _breaks(texts, taken, j) or texts[j] in PARTIAL), -1)
        after = next((j for j in range(i + 1, last) if _breaks(texts, taken, j) or texts[j] in PARTIAL), -1)
        if before >= 0 and texts[before] in PARTIAL:
            yield Trigger("pseudo", "", before, i + 1)
        elif after >= 0 and texts[after] in PARTIAL:
            yield Trigger("pseudo", "", i, after + 1)


def _breaks(texts: Sequence[str], taken: set[int], i: int) -> bool:
    return texts[i] in _BREAKS or i in taken


@functools.cache
def _trigger_index() -> _TriggerIndex:
    """Return the triggers by their first word, longest first."""
    table: _TriggerIndex = {}
    entries = [(kind, side, text) for (kind, side), text in TRIGGERS.items()]
    for kind, side, text in [*entries, ("stop", "", TERMINATORS)]:
        for phrase in _expand(text):
            table.setdefault(phrase[0], []).append((phrase, kind, side))
    for phrases in table.values():
        phrases.sort(key=lambda entry: -len(entry[0]))
    return table


def _expand(text: str) -> Iterator[tuple[str, ...]]:
    """Yield each phrase of a list: phrases are separated by `;` or line ends, alternatives of a word by `|`."""
    for phrase in text.replace("\n", ";").split(";"):
        if phrase.strip():
            yield from itertools.product(*(word.split("|") for word in phrase.split()))
