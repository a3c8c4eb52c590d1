"""How well the index's model finds each label by the volumes alone, as `index` has measured it."""

from dataclasses import dataclass
from typing import Self

from bimcvr.search.index.reader import Index

LABELS = "labels"
"""Where the figures are in an index's calibration."""


@dataclass(frozen=True)
class MeasuredLabel:
    """The ranking of an index's volumes by a label's prompts, on studies that the model was not trained on.

    Attributes:
        average_precision: in percent.
        low: the lower end of its 95 % interval (bootstrap over patients).
        high: its upper end.
        chance: the average precision of a random order, in percent.
        studies: how many studies were ranked.
        positive: how many of them have the label.
        held_out: whether the model is known not to have been trained on them.
    """

    average_precision: float
    low: float
    high: float
    chance: float
    studies: int
    positive: int
    held_out: bool

    @property
    def better_than_chance(self) -> bool:
        """Whether the whole interval is above chance."""
        return self.low > self.chance

    @property
    def lift(self) -> float:
        """How many times chance the average precision is."""
        return self.average_precision / self.chance

    @classmethod
    def of(cls, index: Index, label: str) -> Self | None:
        """Return the figures of a label; None where an index has none.

        Args:
            index: an open index.
            label: as its prompts spell it.
        """
        figures = index.commit.calibration.get(LABELS, {}).get(label)
        if figures is None or label not in index.label_counts():
            return None
        return cls(**figures)

    def sentence(self, label: str) -> str:
        """Say in one sentence what was measured, and whether it is better than chance."""
        doubt = "" if self.held_out else "; it may have been trained on them"
        verdict = (
            f"finds {label} {self.lift:.1f} times as well as chance"
            if self.better_than_chance
            else f"has not been shown to find {label} better than chance"
        )
        return (
            f"By the volumes alone the model {verdict}: average precision {self.average_precision:.1f} %"
            f" (95 % interval {self.low:.1f} to {self.high:.1f}), chance {self.chance:.1f} %; {self.positive} of"
            f" {self.studies} studies of this index have it{doubt}."
        )
