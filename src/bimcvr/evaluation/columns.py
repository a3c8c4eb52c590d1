"""Aligned columns of plain text that fit a terminal: what does not stands in a further block below."""

import textwrap
from collections.abc import Sequence

GAP = 2


def columns(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    r"""Align the cells of a table; the first column to the left, the others to the right.

    Columns that do not fit beside each other follow in a further block, which begins with the first column again.

    Args:
        rows: the cells, the heads first; each row as many.
        width: the most characters of a line. A column that is wider itself is not cut.

    Example:
        >>> print("\n".join(columns([["", "R@1", "chance"], ["text → image", "12.5 %", "1.0 %"]], 30)))
                         R@1  chance
        text → image  12.5 %   1.0 %
    """
    most = max(20, width // 2)
    firsts = [textwrap.wrap(row[0], most) or [""] for row in rows]
    left = max(len(line) for lines in firsts for line in lines)
    blocks: list[list[int]] = [[]]
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    used = left
    for column in range(1, len(rows[0])):
        if blocks[-1] and used + GAP + wide[column] > width:
            blocks.append([])
            used = left
        blocks[-1].append(column)
        used += GAP + wide[column]
    lines: list[str] = []
    for number, block in enumerate(blocks):
        lines += [""] * bool(number)
        for row, first in zip(rows, firsts, strict=True):
            cells = "".join(" " * GAP + row[column].rjust(wide[column]) for column in block)
            lines += [f"{first[0]:<{left}}{cells}".rstrip(), *first[1:]]
    return lines


def paragraph(text: str, width: int) -> list[str]:
    """Wrap a text at a width; words are not cut, and further lines are indented."""
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
