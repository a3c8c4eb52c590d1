"""The curves of a training and a page of its run, drawn from the run's own log."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bimcvr.atomic_files import replacing, write_text
from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.evaluation.text_table import cell
from bimcvr.html.render import COLOURS, render, svg
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = ("-", "--", ":", "-.")


def read_log(run: Path) -> pd.DataFrame:
    """Return what was logged in a run's trainings, in order; a resumed run has a file of each start.

    Args:
        run: the run's folder.
    """
    files = sorted(run.glob("logs/version_*/metrics.csv"), key=lambda path: int(path.parent.name.rpartition("_")[2]))
    parts = [part for path in files if path.stat().st_size for part in [pd.read_csv(path)] if "train/loss" in part]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def draw_curves(log: pd.DataFrame, title: str) -> "Figure":
    """Draw losses, learning rate, R@K on `val` and temperature over the steps of the optimiser.

    Args:
        log: as `read_log` returns it.
        title: stands above.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    logged = [str(name) for name in log]
    losses = [name for name in logged if name == "train/loss" or name.startswith("train/L_")]
    recalls = [name for name in logged if name.startswith("val/") and "/R@" in name]
    recalls.sort(key=lambda name: (name.split("/")[1] != "text_to_image", int(name.rpartition("@")[2])))
    panels: dict[str, list[str]] = {
        "losses": losses,
        "learning rate": [name for name in ("train/learning_rate",) if name in logged],
        "R@K on val, %": recalls,
        "temperature": [name for name in ("train/temperature",) if name in logged],
    }
    for axes, (heading, names) in zip(figure.subplots(2, 2).ravel(), panels.items(), strict=True):
        axes.set_title(heading, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("step", fontsize=9)
        axes.tick_params(labelsize=8)
        for name in names:
            points = log[["step", name]].dropna()
            marker = "o" if len(points) < 30 else ""
            axes.plot(points["step"], points[name], label=_label(name), marker=marker, markersize=3, **_style(name))
        if not names:
            axes.text(0.5, 0.5, "not logged", ha="center", transform=axes.transAxes, fontsize=9, color="#777777")
        if len(names) > 1:
            axes.legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def write_run_page(run: Path, data: CTReportDataModule, best: dict[str, Any]) -> bool:
    """Write `curves.png` and `run.html` into a run's folder.

    Args:
        run: the run's folder, with its log and its checkpoints.
        data: what was trained on.
        best: the state of the best checkpoint: its `monitor` and `score`.

    Returns:
        Whether there was something to draw.
    """
    log = read_log(run)
    if log.empty:
        return False
    kind = "PHANTOM (synthetic data). " if data.manifest.is_phantom else ""
    figure = draw_curves(log, f"{kind}{run.parent.name}/{run.name}")
    with replacing(run / "curves.png") as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    epochs = _validations(log)
    columns = [name for name in map(str, epochs) if name.startswith("val/")]
    facts = {
        "Run": str(run),
        "Manifest": f"{data.manifest.path}, {len(data.manifest)} rows",
        "Split": f"{data.split.strategy}: {data.split.shares()}",
        "Grid": f"{data.cache.grid}, window {list(data.window)} HU",
        "Trained": f"{int(log['epoch'].max()) + 1} epochs, {int(log['step'].max()) + 1} steps",
        "Best of val": f"{best['monitor']} {best['score']:.4g}" if best.get("score") is not None else "",
    }
    page = render(
        "training/output/run.html",
        synthetic=data.manifest.is_phantom,
        has_patients=data.manifest.has_patients,
        name=f"{run.parent.name}/{run.name}",
        facts={name: text for name, text in facts.items() if text},
        curves=svg(figure, "Curves of the training: losses, learning rate, R@K on val, temperature"),
        heads=["epoch", "step", *(_label(name) for name in columns)],
        rows=[
            [str(int(row["epoch"])), str(int(row["step"])), *(_value(name, row[name]) for name in columns)]
            for _, row in epochs.iterrows()
        ],
        command=_test_command(run) if _best(run).is_file() else "",
    )
    write_text(run / "run.html", page)
    return True


def next_steps(run: Path) -> str:
    """Return where the pages and the best weights of a run are, and the command that comes next.

    Args:
        run: the run's folder.
    """
    return f"curves and page: {run / 'run.html'}\nbest checkpoint: {_best(run)}\nnext: {_test_command(run)}"


def _best(run: Path) -> Path:
    return run / "checkpoints/best.ckpt"


def _test_command(run: Path) -> str:
    return f"bimcvr test --checkpoint {shlex.quote(str(_best(run)))}"


def _validations(log: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each validation, with the figures that every one has."""
    names = [name for name in map(str, log) if name.startswith("val/")]
    found = log[["epoch", "step", *names]].dropna(subset=names, how="all") if names else log.iloc[:0]
    return found.reset_index(drop=True)


def _label(name: str) -> str:
    _, *parts = name.split("/")
    return " ".join(DIRECTION_TITLES.get(part, part) for part in parts)


def _value(name: str, value: float) -> str:
    return "–" if pd.isna(value) else cell(name.rpartition("/")[2], value)


def _style(name: str) -> dict[str, Any]:
    """Return one colour a direction, and one kind of line for each K."""
    if "/R@" not in name:
        return {}
    ks = [1, 5, 10, 50]
    k = int(name.rpartition("@")[2])
    colour = COLOURS["image_to_text" in name]
    return {"color": colour, "linestyle": _LINES[ks.index(k) if k in ks else -1]}
