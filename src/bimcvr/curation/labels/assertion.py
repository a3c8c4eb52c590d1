"""Whether a finding named in a sentence is present, absent, uncertain or history.

Rule-based, with triggers and their scopes, as in NegEx and ConText.
"""

import functools
from collections.abc import Sequence
from typing import Literal

from bimcvr.curation.labels.keyword_library import KeywordMatch
from bimcvr.curation.labels.negation_triggers import HISTORY_HEADINGS
from bimcvr.curation.labels.trigger_words import ANSWER_WORDS
from bimcvr.curation.labels.triggers import Trigger, find_triggers
from bimcvr.curation.text.tokens import Word

Assertion = Literal["present", "absent", "uncertain", "history"]

_STOPS = frozenset("; : ( ) (-) (+)".split())
_JOINS = frozenset("and or nor y o e u ni / ,".split())
# a scope ends after this many words without a comma, a conjunction or a finding
_REACH = 8
# a negation also covers an uncertainty that follows within this many words
_CHAIN = 5
# a question that begins with one of these is one from its first word, else from its last comma
_ASKS = frozenset(
    """
    is are was were does do did has have had can could may might should any which what where hay existe existen tiene
    presenta se es son ha hubo podria puede
""".split()
)


def assertions(sentence: Sequence[Word], matches: Sequence[KeywordMatch]) -> list[Assertion]:
    """Return what a sentence asserts about each finding.

    The scope of a negation extends through lists (`no effusion, nodule or mass`); that of an uncertainty ends at a
    comma. If several triggers reach a finding, absent takes precedence over uncertain, and uncertain over history;
    but a question, and a doubt that can act on both sides (`cannot be excluded`, `unlikely`), come first.

    Args:
        sentence: its words.
        matches: the findings it names.
    """
    scopes = _Scopes(sentence, matches, find_triggers(sentence, matches))
    heading = _is_history(sentence, scopes.triggers)
    question = _question_start(sentence)
    result: list[Assertion] = []
    for match in matches:
        reaching = [trigger for trigger in scopes.triggers if scopes.reaches(trigger, trigger.side, match)]
        # `no change in the previous effusion`: what it is compared with is there
        if any(trigger.side == "change" and trigger.last <= match.first for trigger in scopes.triggers):
            reaching = [trigger for trigger in reaching if trigger.side not in ("next", "last")]
        kinds = {trigger.kind for trigger in reaching}
        doubted = any(trigger.kind == "uncertain" and trigger.side == "both" for trigger in reaching)
        if doubted or match.head >= question:
            result.append("uncertain")
        elif "absent" in kinds:
            result.append("absent")
        elif "uncertain" in kinds:
            result.append("uncertain")
        else:
            result.append("history" if heading or "history" in kinds else "present")
    return [_of_answer(i, sentence, matches, result) for i in range(len(matches))]


def _of_answer(
    i: int, sentence: Sequence[Word], matches: Sequence[KeywordMatch], result: Sequence[Assertion]
) -> Assertion:
    """Return the assertion of a finding; a heading has that of its answer: `Nodules: No pulmonary nodules`."""
    last = matches[i].last
    if last < len(sentence) and sentence[last].text == ":" and result[i] == "present":
        answers = (result[j] for j in range(i + 1, len(matches)) if matches[j].label == matches[i].label)
        return next(answers, result[i])
    return result[i]


class _Scopes:
    """The scopes of a sentence's triggers; what depends on a trigger alone is looked up once."""

    def __init__(self, sentence: Sequence[Word], matches: Sequence[KeywordMatch], triggers: Sequence[Trigger]) -> None:
        self.sentence, self.matches, self.triggers = sentence, matches, triggers
        self._named = {i for match in matches for i in range(match.first, match.last)}
        self._headings = {match.first for match in matches if self._texts(match.last, match.last + 1) == [":"]}
        self._answered = functools.cache(self._find_answered)
        self._looks_ahead = functools.cache(self._find_looks_ahead)
        self._end = functools.cache(self._find_end)

    def reaches(self, trigger: Trigger, side: str, match: KeywordMatch) -> bool:
        """Return whether a trigger that acts on `side` reaches a finding."""
        if (mark := self._answered(trigger)) >= 0:
            return self._asks(match, mark)
        if side == "before" and trigger.first <= 1 and self._texts(trigger.last, trigger.last + 1) == [":"]:
            side = "after"  # `Absent: effusion`
        if side == "after":
            return trigger.last <= match.head <= self._end(trigger)
        if side in ("before", "end"):
            return match.last <= trigger.first and self._runs_back(trigger, side, match.last)
        if side == "both":
            return self.reaches(trigger, "after" if self._looks_ahead(trigger) else "before", match)
        if side == "next":
            return 0 <= match.first - trigger.last <= 1
        return side == "last" and 0 <= trigger.first - match.last <= 1

    def _find_answered(self, trigger: Trigger) -> int:
        """Return the `:` or `(` before an answer to a heading (`Nodules: not seen`, `nodules (none)`), or -1."""
        mark = trigger.first - 1
        while mark >= 0 and self.sentence[mark].text in ANSWER_WORDS:
            mark -= 1
        if trigger.kind not in ("absent", "uncertain") or mark < 0 or self.sentence[mark].text not in (":", "("):
            return -1
        for i in range(trigger.last, len(self.sentence)):
            text = self.sentence[i].text
            if text in (",", ")", ";", "?") or i in self._headings:  # the next heading of a list on one line
                break
            if text not in ANSWER_WORDS:
                return -1
        return mark

    def _asks(self, match: KeywordMatch, mark: int) -> bool:
        """Return whether a finding is in the heading before a `:` or `(`; a list of findings is one heading."""
        if not 0 <= mark - match.last <= _REACH:
            return False
        between = self._texts(match.last, mark)
        if any(text in _STOPS for text in between):
            return False
        listed = all(i in self._named or self.sentence[i].text in _JOINS for i in range(mark))
        return listed or not any(text == "," for text in between)

    def _texts(self, first: int, last: int) -> list[str]:
        return [word.text for word in self.sentence[first:last]]

    def _find_looks_ahead(self, trigger: Trigger) -> bool:
        """Return whether a trigger that can act on both sides acts after itself.

        It does if it reaches nothing before it, or a finding after it without a comma between them.
        """
        if not any(self.reaches(trigger, "before", match) for match in self.matches):
            return True
        ahead = [match.head for match in self.matches if self.reaches(trigger, "after", match)]
        return bool(ahead) and not any(word.text == "," for word in self.sentence[trigger.last : min(ahead)])

    def _find_end(self, trigger: Trigger) -> int:
        """Return the last word that a scope extends to.

        A scope ends where a clause does, where another trigger takes over, and after a long stretch without a list.
        """
        following = (other for other in self.triggers if other.first >= trigger.last)
        stop = next((other.first for other in following if self._ends(trigger, other)), len(self.sentence))
        since = trigger.last
        for i in range(trigger.last, stop):
            text = self.sentence[i].text
            # `Negative for: pneumonia`, `No evidence of: pneumonia`
            if text == ":" and all(word in ANSWER_WORDS for word in self._texts(trigger.last, i)):
                since = i
                continue
            if text in _STOPS or (text == "," and trigger.kind == "uncertain"):
                return i
            if text in _JOINS or i in self._named:
                since = i
            if i - since > _REACH:
                return i
        return stop

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
        if stop - start > _REACH or any(
            start <= other.first < stop and other.kind == "stop" for other in self.triggers
        ):
            return False
        return all(word.text not in _STOPS and word.text != "," for word in self.sentence[start:stop])


def _question_start(sentence: Sequence[Word]) -> int:
    """Return the first word of a question; the sentence's length if it is none."""
    texts = [word.text for word in sentence]
    if texts[-1:] != ["?"]:
        return len(texts)
    if "¿" in texts:
        return len(texts) - texts[::-1].index("¿")
    if texts[0] in _ASKS:
        return 0
    return max((i + 1 for i, text in enumerate(texts) if text in (",", ":", "(")), default=0)


def _is_history(sentence: Sequence[Word], triggers: Sequence[Trigger]) -> bool:
    """Return whether a sentence begins with a heading of the patient's history or of another person (`Mother:`)."""
    colon = next((i for i, word in enumerate(sentence[:5]) if word.text == ":"), 0)
    person = any(
        trigger.kind == "history" and trigger.side == "after" and trigger.last <= colon for trigger in triggers
    )
    return colon > 0 and (person or " ".join(word.text for word in sentence[:colon]) in _headings())


@functools.cache
def _headings() -> frozenset[str]:
    return frozenset(" ".join(HISTORY_HEADINGS.split()).split("; "))
