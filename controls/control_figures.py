"""The table of a control: every run, the mean over seeds, the control run, and chance."""

from typing import Any

import numpy as np

from bimcvr.metrics.localisation import LARGE

KEYWORDS = ("atelectasis", "consolidation", "adenopathy", "nodule", "pneumothorax")
SIDES = ("side", "side: nodule", "side: adenopathy")
WAYS = {"text_to_image": "text → image", "image_to_text": "image → text"}
Figures = dict[str, tuple[float, float | None]]


def figures(result: dict[str, Any]) -> Figures:
    """Return what a result says, each figure with its chance level: in percent, the AUROC in parts of 1."""
    metrics, chance = result["metrics"], result["chance"]
    found: Figures = {
        f"{name} {shown}": (metrics[way][name], chance[name]) for name in ("R@1", "R@10") for way, shown in WAYS.items()
    }
    keywords = metrics.get("keyword", {})
    for label in KEYWORDS:
        if label in keywords:
            found[f"P@20 {label}"] = (keywords[label]["P@20"], keywords[label]["prevalence"])
            found[f"AP {label}"] = (keywords[label]["AP"], keywords[label]["chance_AP"])
    labels = {name: scores["AUROC"] for name, scores in metrics.get("zero_shot", {}).items()}
    if labels:
        found["zero-shot AUROC, mean over labels"] = (metrics["zero_shot_mean"]["labels"]["AUROC"], 0.5)
        found["zero-shot AUROC, lowest label"] = (min(labels.values()), None)
    for kind in SIDES:
        if kind in metrics.get("probes", {}):
            probes = metrics["probes"][kind]
            found[f"probes: {kind}"] = (probes["won"], 50.0)
            found[f"probes: {kind}, by another patient's volume"] = (probes["other_won"], 50.0)
    for group, scores in metrics.get("localisation", {}).items():
        if group in ("all findings", LARGE):
            found[f"pointing, {group}"] = (scores["pointing"], scores["chance_pointing"])
            found[f"pointing under another query, {group}"] = (scores["other_pointing"], scores["chance_pointing"])
    return found


def table(results: list[dict[str, Any]], control: dict[str, Any]) -> str:
    """Return a Markdown table: a row for each figure, of runs with seeds 0, 1, … and of a control run."""
    runs, last = [figures(result) for result in results], figures(control)
    heads = ["", *(f"seed {seed}" for seed in range(len(runs))), "mean (sd)", "permuted reports", "chance"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for name, (_, chance) in runs[0].items():
        show = _share if "AUROC" in name else _percent
        values = [run[name][0] for run in runs]
        middle = f"**{show(float(np.mean(values)))}** ({show(float(np.std(values)))})"
        shuffled = show(last[name][0]) if name in last else ""
        lines.append(_row([name, *map(show, values), middle, shuffled, "" if chance is None else show(chance)]))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(value: float) -> str:
    return f"{value:.1f}"


def _share(value: float) -> str:
    return f"{value:.3f}"
