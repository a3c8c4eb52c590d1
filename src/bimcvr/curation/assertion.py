"""Whether a finding named in a sentence is present, absent, uncertain or history: triggers with scopes, as in NegEx and ConText."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bimcvr.curation.triggers import HISTORY_HEADINGS, TERMINATORS, TRIGGERS
from bimcvr.curation.words import Word

Assertion = Literal["present", "absent", "uncertain", "history"]

_STOPS = frozenset("; : ( )".split())
_JOINS = frozenset("and or nor y o e u ni / ,".split())
_Phrases = dict[str, list[tuple[tuple[str, ...], str, str]]]


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
                found.append(Trigger(kind, side, at, at + length))
        at += length or 1
    return found


def assertions(sentence: Sequence[Word], places: Sequence[tuple[int, int, int]]) -> list[Assertion]:
    """Return what a sentence asserts of each finding.

    A negation reaches on through lists (`no effusion, nodule or mass`); an uncertainty ends at a comma. Where several triggers reach a
    finding, absent goes before uncertain and uncertain before history.

    Args:
        sentence: its words.
        places: the findings' (first, last, head): `words[first:last]`, said by the word at `head`.
    """
    triggers = find_triggers(sentence)
    heading = _is_history(sentence)
    result: list[Assertion] = []
    for place in places:
        kinds = {trigger.kind for trigger in triggers if _reaches(trigger, place, sentence, places, triggers)}
        if "absent" in kinds:
            result.append("absent")
        elif "uncertain" in kinds:
            result.append("uncertain")
        else:
            result.append("history" if heading or "history" in kinds else "present")
    return result


def _reaches(
    trigger: Trigger, place: tuple[int, int, int], sentence: Sequence[Word], places: Sequence[tuple[int, int, int]], triggers: Sequence[Trigger]
) -> bool:
    first, last, head = place
    if trigger.side == "after":
        return head >= trigger.last and _runs(trigger, trigger.last, head, sentence, places, triggers)
    if trigger.side in ("before", "end"):
        at_end = trigger.last == len(sentence) or not sentence[trigger.last].text.isalnum()
        ended = trigger.side == "before" or at_end
        return ended and last <= trigger.first and _runs_back(trigger, last, trigger.first, sentence, triggers)
    if trigger.side == "both":
        follows = any(p[2] >= trigger.last and _runs(trigger, trigger.last, p[2], sentence, places, triggers) for p in places)
        side = "after" if follows else "before"
        return _reaches(Trigger(trigger.kind, side, trigger.first, trigger.last), place, sentence, places, triggers)
    if trigger.side == "next":
        return 0 <= first - trigger.last <= 1
    if trigger.side == "last":
        return 0 <= trigger.first - last <= 1
    return False


def _runs(trigger: Trigger, start: int, stop: int, sentence: Sequence[Word], places: Sequence[tuple[int, int, int]], triggers: Sequence[Trigger]) -> bool:
    """Whether a trigger's scope runs on from `start` to the word at `stop`."""
    for other in triggers:
        if start <= other.first < stop:
            if other.kind == "stop":
                return False
            if other.kind != trigger.kind and other.side == "after" and other.kind != "pseudo":
                if not (trigger.kind == "absent" and other.kind in ("uncertain", "history") and other.first - start <= 3):
                    return False
    since = start
    for i in range(start, stop):
        text = sentence[i].text
        if text in _STOPS or (text == "," and trigger.kind == "uncertain"):
            return False
        if text in _JOINS or any(p[0] <= i < p[1] for p in places):
            since = i
        if i - since > REACH:
            return False
    return True


def _runs_back(trigger: Trigger, start: int, stop: int, sentence: Sequence[Word], triggers: Sequence[Trigger]) -> bool:
    if stop - start > REACH or any(start <= other.first < stop and other.kind == "stop" for other in triggers):
        return False
    return all(sentence[i].text not in _STOPS and sentence[i].text != "," for i in range(start, stop))


REACH = 8


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
