"""The agreement of reviewers on decisions and on each label."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bimcvr.curation.review.queue import Review


@dataclass(frozen=True)
class Agreement:
    """The agreement on one question over the items that several reviewers answered.

    Attributes:
        about: `decision`, or the name of a label.
        items: the number of items with two or more answers.
        reviewers: the number of people who answered any of them.
        raw: the share of equal answers among the pairs of answers to the same item.
        fleiss: Fleiss' kappa; None if only one answer occurs, so that chance agreement is 1.
        cohen: Cohen's kappa if there are exactly two reviewers, otherwise None.
    """

    about: str
    items: int
    reviewers: int
    raw: float
    fleiss: float | None
    cohen: float | None


def agreement(reviews: Iterable[Review]) -> list[Agreement]:
    """Return the agreement on the decision and on every label that any reviewer gave, if items have several answers.

    An item is a question for decisions and a study for labels. Of several rows of a reviewer the last one counts.

    Args:
        reviews: the rows of the review queue.
    """
    decisions: dict[object, dict[str, str]] = {}
    label_sets: dict[object, dict[str, frozenset[str]]] = {}
    for review in reviews:
        if review.decision:
            decisions.setdefault(review.question, {})[review.reviewer] = review.decision
        if review.decision and review.labels is not None:
            label_sets.setdefault(review.question.study_id, {})[review.reviewer] = review.labels
    names = sorted({label for answers in label_sets.values() for labels in answers.values() for label in labels})
    agreements = [_agreement("decision", list(decisions.values()))]
    for name in names:
        agreements.append(
            _agreement(
                name, [{who: str(name in labels) for who, labels in answers.items()} for answers in label_sets.values()]
            )
        )
    return [item for item in agreements if item is not None]


def fleiss_kappa(items: Sequence[Sequence[str]]) -> float | None:
    """Return Fleiss' kappa of items with two or more answers each; None if it is undefined.

    With the same number of answers for all items it is Fleiss' original definition (Psychological Bulletin 76, 1971,
    378-382); otherwise the agreement of an item is taken over its own pairs.

    Args:
        items: the answers to each item.
    """
    total = Counter(answer for item in items for answer in item)
    count = sum(total.values())
    if not items:
        return None
    chance = sum((times / count) ** 2 for times in total.values())
    observed = sum(map(_pairs_alike, items)) / len(items)
    return None if chance == 1.0 else (observed - chance) / (1 - chance)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Return Cohen's kappa of two people's answers (Educ. Psychol. Meas. 20, 1960, 37-46); None if it is undefined.

    Args:
        first: the answers of one person to each item.
        second: the answers of the other.
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
