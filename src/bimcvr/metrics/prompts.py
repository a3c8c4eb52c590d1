"""Prompts: sentences that affirm a label, and sentences that deny it."""

from collections.abc import Sequence

PAPER_KEYWORDS = ("atelectasis", "consolidation", "adenopathy")
"""The keywords of the paper's Table 3."""

NO_FINDING = ("normal", "unchanged", "exclude", "suboptimal study")
"""Labels that name no finding."""

AFFIRM = ("There is {}.", "{} is seen.", "Findings of {}.")
DENY = ("There is no {}.", "No {} is seen.", "No findings of {}.")


def prompt_sentences(
    labels: Sequence[str], affirm: Sequence[str] = AFFIRM, deny: Sequence[str] = DENY
) -> tuple[list[str], list[str], list[bool]]:
    """Return the prompts of some labels: the sentences, the label of each, and whether it denies that label.

    Args:
        labels: The labels.
        affirm: Templates that affirm a label, each with one `{}` for its name.
        deny: Templates that deny it.

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


def prompted_labels(labels: Sequence[frozenset[str]]) -> list[str]:
    """Return the labels that get prompts: the paper's three, then every other finding that a row has.

    Args:
        labels: for each row its labels.
    """
    return [*PAPER_KEYWORDS, *sorted(frozenset().union(*labels) - {*PAPER_KEYWORDS, *NO_FINDING})]
