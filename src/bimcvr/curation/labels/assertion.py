"""Whether a finding named in a sentence is present, absent, uncertain or history.

Triggers with scopes, as in NegEx and ConText.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bimcvr.curation.labels.negation_triggers import HISTORY_HEADINGS, TERMINATORS, TRIGGERS
from bimcvr.curation.text.tokens import Word

Assertion = Literal["present", "absent", "uncertain", "history"]

_STOPS = frozenset("; : ( )".split())
_JOINS = frozenset("and or nor y o e u ni / ,".split())
# a scope ends after this many words without a list's comma, conjunction or finding
_REACH = 8
# a negation stays one over an uncertainty that follows within this many words
_CHAIN = 5
_Phrases = dict[str, list[tuple[tuple[str, ...], str, str]]]


class Span(Protocol):
    """Where a finding stands in a sentence: `words[first:last]`, said by the word at `head`."""

    @property
    def first(self) -> int:
        """Its first word."""

    @property
    def last(self) -> int:
        """One past its last word."""

    @property
    def head(self) -> int:
        """The word that triggers act on."""


@dataclass(frozen=True)
class Trigger:
    """A trigger in a sentence: `words[first:last]`.

    Attributes:
        kind: absent, uncertain, history, pseudo or stop.
        side: where it acts (see `triggers.TRIGGERS`).
        first: its first word.
        last: one past its last word.
    """

    kind: str
    side: str
    first: int
    last: int


def find_triggers(sentence: Sequence[Word]) -> list[Trigger]:
    """Return the triggers and terminators of a sentence from left to right, the longest at each word."""
    texts = tuple(word.text for word in sentence)
    found: list[Trigger] = []
    at = 0
    while at < len(texts):
        length = 0
        for phrase, kind, side in _phrases().get(texts[at], ()):
            if len(phrase) < length:
                break
            if texts[at : at + len(phrase)] == phrase:
                length = len(phrase)
                # `tampoco` `se observan`: the verb of a negation begins no new clause
                if kind != "stop" or not any(other.last == at and other.side in ("after", "both") for other in found):
                    found.append(Trigger(kind, side, at, at + length))
        at += length or 1
    return found


def assertions(sentence: Sequence[Word], spans: Sequence[Span]) -> list[Assertion]:
    """Return what a sentence asserts of each finding.

    A negation reaches on through lists (`no effusion, nodule or mass`); an uncertainty ends at a comma. Where several
    triggers reach a finding, absent goes before uncertain and uncertain before history.

    Args:
        sentence: its words.
        spans: where the findings stand.
    """
    scopes = _Scopes(sentence, spans, find_triggers(sentence))
    heading = _is_history(sentence)
    result: list[Assertion] = []
    for span in spans:
        kinds = {trigger.kind for trigger in scopes.triggers if scopes.reaches(trigger, trigger.side, span)}
        if "absent" in kinds:
            result.append("absent")
        elif "uncertain" in kinds:
            result.append("uncertain")
        else:
            result.append("history" if heading or "history" in kinds else "present")
    return result


@dataclass(frozen=True)
class _Scopes:
    """The scopes of a sentence's triggers."""

    sentence: Sequence[Word]
    spans: Sequence[Span]
    triggers: Sequence[Trigger]

    def reaches(self, trigger: Trigger, side: str, span: Span) -> bool:
        """Whether a trigger that acts on `side` reaches a finding."""
        if side == "after":
            return span.head >= trigger.last and self._runs(trigger, span.head)
        if side in ("before", "end"):
            return span.last <= trigger.first and self._runs_back(trigger, side, span.last)
        if side == "both":
            return self.reaches(trigger, "after" if self._looks_ahead(trigger) else "before", span)
        if side == "next":
            return 0 <= span.first - trigger.last <= 1
        return side == "last" and 0 <= trigger.first - span.last <= 1

    def _looks_ahead(self, trigger: Trigger) -> bool:
        """Whether a trigger of both sides acts after itself.

        Nothing before it, or a finding in the same stretch behind it.
        """
        if not any(self.reaches(trigger, "before", span) for span in self.spans):
            return True
        ahead = [span.head for span in self.spans if self.reaches(trigger, "after", span)]
        return bool(ahead) and not any(word.text == "," for word in self.sentence[trigger.last : min(ahead)])

    def _runs(self, trigger: Trigger, stop: int) -> bool:
        """Whether a scope runs on to the word at `stop`.

        No clause ends, no other trigger takes over, no long way without a list.
        """
        if any(trigger.last <= other.first < stop and self._ends(trigger, other) for other in self.triggers):
            return False
        since = trigger.last
        for i in range(trigger.last, stop):
            text = self.sentence[i].text
            if text in _STOPS or (text == "," and trigger.kind == "uncertain"):
                return False
            if text in _JOINS or any(span.first <= i < span.last for span in self.spans):
                since = i
            if i - since > _REACH:
                return False
        return True

    def _ends(self, trigger: Trigger, other: Trigger) -> bool:
        """Whether a later trigger ends a scope; `no focal lesions suggestive of` stays a negation."""
        if other.kind == "stop":
            return True
        if other.kind in ("pseudo", trigger.kind) or other.side != "after":
            return False
        between = self.sentence[trigger.last : other.first]
        return trigger.kind != "absent" or len(between) > _CHAIN or any(word.text == "," for word in between)

    def _runs_back(self, trigger: Trigger, side: str, start: int) -> bool:
        stop = trigger.first
        if side == "end":
            if trigger.last < len(self.sentence) and self.sentence[trigger.last].text.isalnum():
                return False
            stop -= self.sentence[stop - 1].text == ":"
        if stop - start > _REACH or any(
            start <= other.first < stop and other.kind == "stop" for other in self.triggers
        ):
            return False
        return all(word.text not in _STOPS and word.text != "," for word in self.sentence[start:stop])


def _is_history(sentence: Sequence[Word]) -> bool:
    """Whether a sentence stands under a heading of the patient's past."""
    colon = next((i for i, word in enumerate(sentence[:5]) if word.text == ":"), 0)
    return colon > 0 and " ".join(word.text for word in sentence[:colon]) in _headings()


@functools.cache
def _headings() -> frozenset[str]:
    return frozenset(" ".join(HISTORY_HEADINGS.split()).split("; "))


@functools.cache
def _phrases() -> _Phrases:
    """Return the triggers by their first word, longest first."""
    table: _Phrases = {}
    entries = [(kind, side, text) for (kind, side), text in TRIGGERS.items()]
    for kind, side, text in [*entries, ("stop", "", TERMINATORS)]:
        for phrase in _expand(text):
            table.setdefault(phrase[0], []).append((phrase, kind, side))
    for phrases in table.values():
        phrases.sort(key=lambda entry: -len(entry[0]))
    return table


def _expand(text: str) -> Iterator[tuple[str, ...]]:
    """Yield each phrase of a list: `;` or a line end parts phrases, `|` alternatives of a word."""
    for phrase in text.replace("\n", ";").split(";"):
        if phrase.strip():
            yield from itertools.product(*(word.split("|") for word in phrase.split()))
