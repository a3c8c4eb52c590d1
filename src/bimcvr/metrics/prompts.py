"""The sentences that ask for a label, and those that deny it."""

from collections.abc import Sequence

PAPER_KEYWORDS = ("atelectasis", "consolidation", "adenopathy")
"""The keywords of the paper's Table 3."""

NO_FINDING = ("normal", "unchanged", "exclude", "suboptimal study")
"""Labels that say nothing about what is to be seen."""

AFFIRM = ("There is {}.", "{} is seen.", "Findings of {}.")
DENY = ("There is no {}.", "No {} is seen.", "No findings of {}.")


def prompt_sentences(
    labels: Sequence[str], affirm: Sequence[str] = AFFIRM, deny: Sequence[str] = DENY
) -> tuple[list[str], list[str], list[bool]]:
    """Return the sentences, for each its label, and for each whether it denies it.

    Example:
        >>> prompt_sentences(["nodule"], ["There is {}."], ["No {}."])
        (['There is nodule.', 'No nodule.'], ['nodule', 'nodule'], [False, True])
    """
    rows = [
        (template.format(label), label, denies)
        for label in labels
        for denies, templates in ((False, affirm), (True, deny))
        for template in templates
    ]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def asked_labels(labels: Sequence[frozenset[str]]) -> list[str]:
    """Return which labels are asked for: the paper's three, then every other finding that a row bears."""
    return [*PAPER_KEYWORDS, *sorted(frozenset().union(*labels) - {*PAPER_KEYWORDS, *NO_FINDING})]
