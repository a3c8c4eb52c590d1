"""Text samplers: which words of a report one training step reads.

A sampler is called as `sampler(report, generator)` and returns a text; the same state of the generator gives the same
text. Samplers are for training only: in evaluation the whole report is read, up to the encoder's context length.
"""

import torch


class ContiguousSampler:
    """A continuous segment of L words, its start drawn uniformly (the paper's method section: L = 100).

    Every segment that fits is equally likely; a report of L words or fewer is returned unchanged.

    Args:
        words: L, 1 or more.
    """

    def __init__(self, words: int = 100) -> None:
        self.words = _at_least_one(words, type(self).__name__)

    def __call__(self, text: str, generator: torch.Generator) -> str:
        """Return the segment, its words joined by single blanks."""
        words = text.split()
        spare = len(words) - self.words
        if spare <= 0:
            return text
        start = int(torch.randint(spare + 1, (), generator=generator))
        return " ".join(words[start : start + self.words])


class RandomWordsSampler:
    """M words drawn without replacement, in the report's order (the paper's overview: M = 64).

    A report of M words or fewer is returned unchanged.

    Args:
        words: M, 1 or more.
    """

    def __init__(self, words: int = 64) -> None:
        self.words = _at_least_one(words, type(self).__name__)

    def __call__(self, text: str, generator: torch.Generator) -> str:
        """Return the words, joined by single blanks."""
        words = text.split()
        if len(words) <= self.words:
            return text
        drawn = torch.randperm(len(words), generator=generator)[: self.words].sort().values
        return " ".join(words[position] for position in drawn.tolist())


class HeadSampler:
    """The whole report, of which the encoder reads the head that fits its context ("no sampler", paper's Table 4)."""

    def __call__(self, text: str, generator: torch.Generator) -> str:
        """Return the text unchanged; the generator is not used."""
        return text


def _at_least_one(words: int, name: str) -> int:
    if words < 1:
        raise ValueError(f"{name}: `words` is {words}; give the number of words to read, 1 or more.")
    return words
