"""CSV cells that a spreadsheet would run as formulas: recognised when a table is read, escaped when one is written.

Spreadsheets evaluate a cell that begins with `=`, `+`, `-` or `@` (OWASP, CSV injection).
"""

import re

_FIRST_CHARACTERS = ("=", "+", "-", "@", "\t", "\r")
# prose that begins with a dash or a sign does not match
_FORMULA = re.compile(r"\s*(=|@\w+\(|[+\-][\w.+\-*/]*[(!|])")


def is_formula(cell: str) -> bool:
    """Return whether a spreadsheet would evaluate a cell; text that only begins with a dash or a sign is no formula."""
    return _FORMULA.match(cell) is not None


def escape_cell(cell: str) -> str:
    """Return a cell that a spreadsheet shows as text: with a leading apostrophe where it could be a formula.

    `unescape_cell` reverses it, also for cells that begin with an apostrophe of their own.
    """
    return f"'{cell}" if cell.startswith(_FIRST_CHARACTERS) or _is_escaped(cell) else cell


def unescape_cell(cell: str) -> str:
    """Return the text of a cell that `escape_cell` wrote."""
    return cell[1:] if _is_escaped(cell) else cell


def _is_escaped(cell: str) -> bool:
    return cell[:1] == "'" and cell[1:2] in (*_FIRST_CHARACTERS, "'")
