"""The figures of a benchmark: recall curves, keyword bars, ablation bars; each says what it was measured on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from bimcvr.evaluation.text_table import WAYS as WAY_TITLES
from bimcvr.html.render import COLOURS, new_figure, svg
from bimcvr.metrics.ranks import WAYS
from bimcvr.suites.paper_tables import Setting
from bimcvr.suites.run_process import DONE
from bimcvr.suites.scores import CURVE, KEYWORDS, Figure, Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

STYLES = ("-", "--", ":", "-.")
PALETTE = ("#1f5fa8", "#c8630a", "#2c8a4b", "#8f1d1d", "#6a4fa3", "#5a5a5a")


def draw_figures(methods: Sequence[Method], setting: Setting) -> dict[str, Markup]:
    """Return every figure as SVG by the name of its file; a figure for which nothing was measured is left out."""
    done = {
        number: [method for method in methods if method.status == DONE and number in method.row.tables]
        for number in (2, 3, 4)
    }
    drawn = {f"recall_{way}": recall_curves(way, done[2], setting) for way in WAYS if done[2]}
    for label in KEYWORDS:
        found = {
            method.row.title: method.figures[label]["P@20"]
            for method in done[3]
            if "P@20" in method.figures.get(label, {})
        }
        if found:
            chance = next(method.prevalence[label] for method in done[3] if label in method.prevalence)
            drawn[f"keyword_{label}"] = bars(
                f"Keyword “{label}”", found, "P@20, %", ("prevalence", chance), setting.data
            )
    found = {
        method.row.title: method.figures[WAYS[0]]["R@10"] for method in done[4] if "R@10" in method.figures[WAYS[0]]
    }
    if found:
        drawn["ablation"] = bars(
            "Ablation, text → image", found, "R@10, %", ("chance", setting.chance["R@10"]), setting.data
        )
    return drawn


def recall_curves(way: str, methods: Sequence[Method], setting: Setting) -> Markup:
    """Draw R@K over K of every row, with its 95 % band, and chance.

    Args:
        way: the direction.
        methods: rows that have figures.
        setting: with chance at every K.
    """
    size = len(setting.gallery.rows)
    ks = [k for k in CURVE if k <= size]
    figure, axes = new_figure(height=3.6 + 0.1 * len(methods))
    for place, method in enumerate(methods):
        found = [method.figures[way][f"R@{k}"] for k in ks]
        colour, style = PALETTE[place % len(PALETTE)], STYLES[place // len(PALETTE) % len(STYLES)]
        axes.plot(ks, [of.value for of in found], color=colour, linestyle=style, linewidth=1.4, label=method.row.title)
        axes.fill_between(
            ks, [of.interval[0] for of in found], [of.interval[1] for of in found], color=colour, alpha=0.1, linewidth=0
        )
    axes.plot(
        ks, [setting.chance[f"R@{k}"] for k in ks], color="black", linestyle=(0, (1, 3)), linewidth=1.4, label="chance"
    )
    axes.set_xscale("log")
    axes.set_xticks(ks, list(map(str, ks)))
    axes.minorticks_off()
    axes.set_ylim(0, 102)
    axes.grid(axis="y", color="#e4e4e4")
    axes.set_xlabel(f"K (log scale), of {size}")
    axes.set_ylabel("right answer among the first K, %")
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8)
    return _titled(figure, f"R@K, {WAY_TITLES[way]}, with 95 % bands", setting.data)


def bars(title: str, found: Mapping[str, Figure], label: str, mark: tuple[str, float], data: str) -> Markup:
    """Draw a figure of every row as a horizontal bar with its 95 % interval, and the level of chance.

    Args:
        title: of the figure.
        found: by the rows' titles.
        label: of the axis.
        mark: the name of the chance level, and the level.
        data: what was measured on.
    """
    figure, axes = new_figure(height=1.3 + 0.27 * len(found))
    values = [of.value for of in found.values()]
    whiskers = [
        [max(0.0, of.value - of.interval[0]) for of in found.values()],
        [max(0.0, of.interval[1] - of.value) for of in found.values()],
    ]
    places = range(len(found))
    axes.barh(places, values, 0.66, color="#a9c5e6", xerr=whiskers, error_kw={"ecolor": COLOURS[0], "elinewidth": 1.4})
    axes.axvline(mark[1], color="black", linestyle="--", linewidth=1.1, label=f"{mark[0]} {mark[1]:.1f} %")
    axes.set_yticks(places, list(found))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(label)
    figure.legend(loc="outside lower left", frameon=False, fontsize=8)
    return _titled(figure, title, data)


def _titled(figure: "Drawing", title: str, data: str) -> Markup:
    figure.suptitle(f"{title}\n{data}", fontsize=9, x=0.01, ha="left", color="#333333")
    return svg(figure, f"{title}, on {data}")
