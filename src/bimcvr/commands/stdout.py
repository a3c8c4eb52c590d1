"""What commands print: no control character of a file's content or name reaches the terminal."""

import shutil

from bimcvr.errors import printable

NARROWEST, WIDEST = 80, 120


def width() -> int:
    """Return how many characters a line of a table may have: those of the terminal, between 80 and 120."""
    return min(max(shutil.get_terminal_size((WIDEST, 24)).columns, NARROWEST), WIDEST)


def say(text: str, flush: bool = False) -> None:
    """Print a text for a person to read, with control characters but line ends and tabs as escapes.

    Args:
        text: the text.
        flush: write it now, though more may follow.
    """
    print(printable(text), flush=flush)  # noqa: T201 - the only place


def say_json(text: str) -> None:
    r"""Print JSON for a program to read, with control characters as JSON's own escapes (`\u009b`).

    Args:
        text: the JSON; it may have other characters than ASCII.
    """
    print("".join(rf"\u{ord(one):04x}" if "\x7f" <= one <= "\x9f" else one for one in text))  # noqa: T201
