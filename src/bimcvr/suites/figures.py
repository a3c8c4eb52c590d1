"""The charts of a benchmark: recall curves, keyword bars, ablation bars; each names the data it was measured on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from bimcvr.html.render import COLOURS, new_figure, svg
from bimcvr.metrics.prompts import PAPER_KEYWORDS
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES, DIRECTIONS
from bimcvr.suites.paper_tables import TableContext
from bimcvr.suites.run_process import DONE
from bimcvr.suites.scores import CURVE, Estimate, RowResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

STYLES = ("-", "--", ":", "-.")
PALETTE = ("#1f5fa8", "#c8630a", "#2c8a4b", "#8f1d1d", "#6a4fa3", "#5a5a5a")


def draw_figures(methods: Sequence[RowResult], context: TableContext) -> dict[str, Markup]:
    """Return every chart as SVG by the name of its file; one for which nothing was measured is left out."""
    done = {
        number: [method for method in methods if method.status == DONE and number in method.row.tables]
        for number in (2, 3, 4)
    }
    drawn = {f"recall_{direction}": recall_curves(direction, done[2], context) for direction in DIRECTIONS if done[2]}
    for label in PAPER_KEYWORDS:
        found = {
            method.row.title: method.figures[label]["P@20"]
            for method in done[3]
            if "P@20" in method.figures.get(label, {})
        }
        if found:
            chance = next(method.prevalence[label] for method in done[3] if label in method.prevalence)
            drawn[f"keyword_{label}"] = bar_chart(
                f"Keyword “{label}”", found, "P@20, %", ("prevalence", chance), context.data
            )
    found = {
        method.row.title: method.figures[DIRECTIONS[0]]["R@10"]
        for method in done[4]
        if "R@10" in method.figures[DIRECTIONS[0]]
    }
    if found:
        drawn["ablation"] = bar_chart(
            "Ablation, text → image", found, "R@10, %", ("chance", context.chance["R@10"]), context.data
        )
    return drawn


def recall_curves(direction: str, methods: Sequence[RowResult], context: TableContext) -> Markup:
    """Draw R@K over K of every row, with its 95 % band, and chance.

    Args:
        direction: text_to_image or image_to_text.
        methods: The rows that have results.
        context: What the tables share, with chance at every K.
    """
    size = len(context.gallery.rows)
    ks = [k for k in CURVE if k <= size]
    figure, axes = new_figure(height=3.6 + 0.1 * len(methods))
    for place, method in enumerate(methods):
        found = [method.figures[direction][f"R@{k}"] for k in ks]
        colour, style = PALETTE[place % len(PALETTE)], STYLES[place // len(PALETTE) % len(STYLES)]
        axes.plot(ks, [of.value for of in found], color=colour, linestyle=style, linewidth=1.4, label=method.row.title)
        axes.fill_between(
            ks, [of.interval[0] for of in found], [of.interval[1] for of in found], color=colour, alpha=0.1, linewidth=0
        )
    axes.plot(
        ks, [context.chance[f"R@{k}"] for k in ks], color="black", linestyle=(0, (1, 3)), linewidth=1.4, label="chance"
    )
    axes.set_xscale("log")
    axes.set_xticks(ks, list(map(str, ks)))
    axes.minorticks_off()
    axes.set_ylim(0, 102)
    axes.grid(axis="y", color="#e4e4e4")
    axes.set_xlabel(f"K (log scale), of {size}")
    axes.set_ylabel("right answer among the first K, %")
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8)
    return _titled(figure, f"R@K, {DIRECTION_TITLES[direction]}, with 95 % bands", context.data)


def bar_chart(title: str, estimates: Mapping[str, Estimate], label: str, mark: tuple[str, float], data: str) -> Markup:
    """Draw a metric of every row as a horizontal bar with its 95 % interval, and the chance level.

    Args:
        title: The chart's title.
        estimates: The metric by the rows' titles.
        label: The axis label.
        mark: The name of the chance level, and the level.
        data: What it was measured on.
    """
    figure, axes = new_figure(height=1.3 + 0.27 * len(estimates))
    values = [estimate.value for estimate in estimates.values()]
    whiskers = [
        [max(0.0, one.value - one.interval[0]) for one in estimates.values()],
        [max(0.0, one.interval[1] - one.value) for one in estimates.values()],
    ]
    positions = range(len(estimates))
    axes.barh(
        positions, values, 0.66, color="#a9c5e6", xerr=whiskers, error_kw={"ecolor": COLOURS[0], "elinewidth": 1.4}
    )
    axes.axvline(mark[1], color="black", linestyle="--", linewidth=1.1, label=f"{mark[0]} {mark[1]:.1f} %")
    axes.set_yticks(positions, list(estimates))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(label)
    figure.legend(loc="outside lower left", frameon=False, fontsize=8)
    return _titled(figure, title, data)


def _titled(figure: "MplFigure", title: str, data: str) -> Markup:
    figure.suptitle(f"{title}\n{data}", fontsize=9, x=0.01, ha="left", color="#333333")
    return svg(figure, f"{title}, on {data}")
