"""Pages for people: one self-contained HTML file each, from which no request leaves and in which no script runs.

Templates lie beside the code and extend `html/base.html`, which has the style and forbids scripts and requests.
"""

import base64
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#1f5fa8", "#c8630a")
"""Of the two directions: they differ in lightness too, for printing and for colour-blind readers."""

_INK = "#333333"


def render(template: str, **values: object) -> str:
    """Fill a template; everything but `Markup` is escaped, and a name that was not given is an error.

    Args:
        template: its path below `src/bimcvr`, like `evaluation/page.html`.
        values: what it names. Besides them it can call `bar`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["bar"] = bar
    return environment.get_template(template).render(**values)


def new_figure(width: float = 4.7, height: float = 3.0) -> "tuple[Figure, Axes]":
    """Return a figure (inches) with one pair of axes in the pages' style; pyplot and its global state are not used."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(labelsize=9, color="#999999", labelcolor=_INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(size=9, color=_INK)
    axes.set_axisbelow(True)
    return figure, axes


def svg(figure: "Figure", alt: str) -> Markup:
    """Return a figure as inline SVG whose text is text.

    Args:
        figure: as `new_figure` makes it.
        alt: what is to be seen, for those who do not see it; no two figures of a page have the same.
    """
    import matplotlib

    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": alt}):
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    drawn = stream.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    # every figure numbers its groups from 1: two on one page would share ids, and nothing refers to these
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)
    return Markup('<svg role="img" aria-label="{}"').format(alt) + Markup(drawn.removeprefix("<svg"))  # noqa: S704 - matplotlib escapes its texts


def png_uri(grey: np.ndarray) -> str:
    """Return a grey picture, uint8 (H, W), as a PNG in a data URI."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def bar(value: float, interval: Sequence[float] | None, mark: float, top: float) -> Markup:
    """Return a horizontal bar from 0 to `value` as SVG as wide as its cell, its interval as a whisker.

    Args:
        value: not finite draws no bar.
        interval: low and high; None draws no whisker.
        mark: The value of a vertical line, such as chance.
        top: The value at the right end; an interval that extends beyond it ends in ›.
    """

    def percent(at: float) -> str:
        return f"{100 * min(max(at / top, 0), 1):.2f}%"

    parts = ['<svg class="bar" width="100%" height="16" aria-hidden="true">']
    if math.isfinite(value):
        parts.append(f'<rect width="{percent(value)}" y="2" height="12"/>')
    if interval is not None and all(map(math.isfinite, interval)):
        low, high = map(percent, interval)
        parts.append(f'<line class="whisker" x1="{low}" x2="{high}" y1="8" y2="8"/>')
        if interval[1] > top:
            parts.append('<text x="100%" dx="2" y="13">›</text>')
    parts.append(f'<line class="mark" x1="{percent(mark)}" x2="{percent(mark)}" y1="0" y2="16"/></svg>')
    return Markup("".join(parts))  # noqa: S704 - nothing but numbers
