"""CSV cells that a spreadsheet would run as formulas: recognised when a table is read, escaped when one is written.

Spreadsheets evaluate a cell that begins with `=`, `+`, `-` or `@` (OWASP, CSV injection).
"""

import re

_FIRST_CHARACTERS = ("=", "+", "-", "@", "\t", "\r")
_TEXT = re.compile(r""""[^"]*"|'[^']*'""")
_REFERENCE = r"(?:\$?[A-Za-z]{1,3}\$?\d+)"
_VALUE = rf"(?:T|{_REFERENCE}(?::{_REFERENCE})?|\d+(?:\.\d+)?%?)"
# a command of another program: `cmd|' /C calc'!A0`
_COMMAND = re.compile(r"\w\|.*!\$?[A-Za-z]+\$?\d", re.DOTALL)
# a function with a text, a number, a cell or nothing as its first argument: `SUM(A1:A3)`, but not `nódulo(s)`
_CALL = re.compile(rf"[A-Za-z]{{2}}[\w.]*\(\s*(?:{_VALUE}\s*[,;)+\-*/&=<>]|\)|[A-Za-z][\w.]*\()")
_SUM = re.compile(rf"\s*=\s*[+\-(]*{_VALUE}(?:[+\-*/^&=<>()]+{_VALUE})*\)*\s*")
_TWO_WORDS = re.compile(r"[^\W_]\s+[^\W_]")


def is_formula(cell: str) -> bool:
    """Return whether a spreadsheet would evaluate a cell.

    A report that begins with a dash, a ruler (`===`) or an arrow (`=>`) is no formula: it has words with blanks between
    them, or nothing that can be computed.
    """
    if not cell.lstrip().startswith(("=", "+", "-", "@")):
        return False
    if _COMMAND.search(cell):
        return True
    bare = _TEXT.sub("T", cell)
    return not _TWO_WORDS.search(bare) and bool(_CALL.search(bare) or _SUM.fullmatch(bare))


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
