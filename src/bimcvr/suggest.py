"""Suggestions for mistyped names: "Did you mean …?"."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the known name that is most similar to a mistyped one, or None if none is similar enough.

    Args:
        name: What was typed.
        known: The names that exist.
        cutoff: The least similarity, from 0 (anything) to 1 (the same), as of `difflib.get_close_matches`.
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return " Did you mean 'name'?" with a leading space, or nothing if no known name is similar enough.

    Args:
        name: What was typed.
        known: The names that exist.
        cutoff: As of `nearest`.

    Example:
        >>> did_you_mean("epoch", ["epochs", "seeds"])
        " Did you mean 'epochs'?"
    """
    match = nearest(name, known, cutoff)
    return f" Did you mean '{match}'?" if match else ""
