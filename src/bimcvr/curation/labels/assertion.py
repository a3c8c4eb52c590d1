"""Whether a finding named in a sentence is present, absent, uncertain or history.

Rule-based, with triggers and their scopes, as in NegEx and ConText.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bimcvr.curation.labels.keyword_library import KeywordMatch
from bimcvr.curation.labels.negation_triggers import HISTORY_HEADINGS, TERMINATORS, TRIGGERS
from bimcvr.curation.text.tokens import Word

Assertion = Literal["present", "absent", "uncertain", "history"]

_STOPS = frozenset("; : ( )".split())
_JOINS = frozenset("and or nor y o e u ni / ,".split())
# a scope ends after this many words without a comma, a conjunction or a finding
_REACH = 8
# a negation also covers an uncertainty that follows within this many words
_CHAIN = 5
_TriggerIndex = dict[str, list[tuple[tuple[str, ...], str, str]]]


@dataclass(frozen=True)
class Trigger:
    """A trigger in a sentence: `words[first:last]`.

    Attributes:
        kind: absent, uncertain, history, pseudo or stop.
        side: where it acts (see `negation_triggers.TRIGGERS`).
        first: its first word.
        last: one past its last word.
    """

    kind: str
    side: str
    first: int
    last: int


def find_triggers(sentence: Sequence[Word]) -> list[Trigger]:
    """Return the triggers and terminators of a sentence from left to right, the longest at each word.

    Args:
        sentence: its words.
    """
    texts = tuple(word.text for word in sentence)
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


def assertions(sentence: Sequence[Word], matches: Sequence[KeywordMatch]) -> list[Assertion]:
    """Return what a sentence asserts about each finding.

    The scope of a negation extends through lists (`no effusion, nodule or mass`); that of an uncertainty ends at a
    comma. If several triggers reach a finding, absent takes precedence over uncertain, and uncertain over history.

    Args:
        sentence: its words.
        matches: the findings it names.
    """
    scopes = _Scopes(sentence, matches, find_triggers(sentence))
    heading = _is_history(sentence)
    result: list[Assertion] = []
    for match in matches:
        kinds = {trigger.kind for trigger in scopes.triggers if scopes.reaches(trigger, trigger.side, match)}
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
    matches: Sequence[KeywordMatch]
    triggers: Sequence[Trigger]

    def reaches(self, trigger: Trigger, side: str, match: KeywordMatch) -> bool:
        """Return whether a trigger that acts on `side` reaches a finding."""
        if side == "after":
            return match.head >= trigger.last and self._runs(trigger, match.head)
        if side in ("before", "end"):
            return match.last <= trigger.first and self._runs_back(trigger, side, match.last)
        if side == "both":
            return self.reaches(trigger, "after" if self._looks_ahead(trigger) else "before", match)
        if side == "next":
            return 0 <= match.first - trigger.last <= 1
        return side == "last" and 0 <= trigger.first - match.last <= 1

    def _looks_ahead(self, trigger: Trigger) -> bool:
        """Return whether a trigger that can act on both sides acts after itself.

        It does if it reaches nothing before it, or a finding after it without a comma between them.
        """
        if not any(self.reaches(trigger, "before", match) for match in self.matches):
            return True
        ahead = [match.head for match in self.matches if self.reaches(trigger, "after", match)]
        return bool(ahead) and not any(word.text == "," for word in self.sentence[trigger.last : min(ahead)])

    def _runs(self, trigger: Trigger, stop: int) -> bool:
        """Return whether a scope extends to the word at `stop`.

        It does if no clause ends before, no other trigger takes over, and there is no long stretch without a list.
        """
        if any(trigger.last <= other.first < stop and self._ends(trigger, other) for other in self.triggers):
            return False
        since = trigger.last
        for i in range(trigger.last, stop):
            text = self.sentence[i].text
            if text in _STOPS or (text == "," and trigger.kind == "uncertain"):
                return False
            if text in _JOINS or any(match.first <= i < match.last for match in self.matches):
                since = i
            if i - since > _REACH:
                return False
        return True

    def _ends(self, trigger: Trigger, other: Trigger) -> bool:
        """Return whether a later trigger ends a scope; `no focal lesions suggestive of` stays a negation."""
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
    """Return whether a sentence begins with a heading of the patient's history."""
    colon = next((i for i, word in enumerate(sentence[:5]) if word.text == ":"), 0)
    return colon > 0 and " ".join(word.text for word in sentence[:colon]) in _headings()


@functools.cache
def _headings() -> frozenset[str]:
    return frozenset(" ".join(HISTORY_HEADINGS.split()).split("; "))


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
