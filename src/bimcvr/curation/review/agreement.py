"""How well the reviewers agree: on decisions, and on each label."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bimcvr.curation.review.queue import Review


@dataclass(frozen=True)
class Agreement:
    """The agreement on one question over the items that several reviewers answered.

    Attributes:
        about: `decision`, or the name of a label.
        items: how many have two answers or more.
        reviewers: how many people answered any of them.
        raw: the share of pairs of answers to the same item that are the same.
        fleiss: Fleiss' kappa; None where only one answer occurs, so that chance agrees always.
        cohen: Cohen's kappa where there are exactly two reviewers, else None.
    """

    about: str
    items: int
    reviewers: int
    raw: float
    fleiss: float | None
    cohen: float | None


def agreement(reviews: Iterable[Review]) -> list[Agreement]:
    """Return the agreement on the decision and on every label that anybody gave.

    Where two people or more answered an item.

    An item is a question for decisions and a study for labels; a reviewer's last row counts.
    """
    decisions: dict[object, dict[str, str]] = {}
    given: dict[object, dict[str, frozenset[str]]] = {}
    for review in reviews:
        if review.decision:
            decisions.setdefault(review.question, {})[review.reviewer] = review.decision
        if review.decision and review.labels is not None:
            given.setdefault(review.question.study_id, {})[review.reviewer] = review.labels
    names = sorted({label for answers in given.values() for labels in answers.values() for label in labels})
    found = [_agreement("decision", list(decisions.values()))]
    for name in names:
        found.append(
            _agreement(
                name, [{who: str(name in labels) for who, labels in answers.items()} for answers in given.values()]
            )
        )
    return [one for one in found if one is not None]


def fleiss_kappa(items: Sequence[Sequence[str]]) -> float | None:
    """Return Fleiss' kappa of items with any number of answers each, two or more.

    With the same number for all it is Fleiss' own (Psychological Bulletin 76, 1971, 378-382); otherwise an item's
    agreement is taken over its own pairs. None where it is undefined.
    """
    total = Counter(answer for item in items for answer in item)
    count = sum(total.values())
    if not items:
        return None
    chance = sum((times / count) ** 2 for times in total.values())
    observed = sum(map(_pairs_alike, items)) / len(items)
    return None if chance == 1.0 else (observed - chance) / (1 - chance)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Return Cohen's kappa of two people's answers to the same items (Educ. Psychol. Meas. 20, 1960, 37-46).

    None if undefined.
    """
    if not first:
        return None
    observed = sum(one == other for one, other in zip(first, second, strict=True)) / len(first)
    ones, others = Counter(first), Counter(second)
    chance = sum(ones[answer] * others[answer] for answer in ones) / len(first) ** 2
    return None if chance == 1.0 else (observed - chance) / (1 - chance)


def _pairs_alike(answers: Sequence[str]) -> float:
    count = len(answers)
    return sum(times * (times - 1) for times in Counter(answers).values()) / (count * (count - 1))


def _agreement(about: str, answers: list[dict[str, str]]) -> Agreement | None:
    shared = [item for item in answers if len(item) > 1]
    if not shared:
        return None
    people = sorted({who for item in shared for who in item})
    items = [list(item.values()) for item in shared]
    pairs = sum(len(item) * (len(item) - 1) for item in items)
    raw = sum(_pairs_alike(item) * len(item) * (len(item) - 1) for item in items) / pairs
    cohen = cohen_kappa(*([item[who] for item in shared] for who in people)) if len(people) == 2 else None
    return Agreement(about, len(shared), len(people), raw, fleiss_kappa(items), cohen)
