"""A result as one HTML file for people: figures, tables, and the queries that went worst."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import write_text
from bimcvr.contracts import Gallery
from bimcvr.data.manifest import Manifest
from bimcvr.data.slice_pictures import CHEST_WINDOW
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.html_figures import rank_histogram, recall_curve
from bimcvr.evaluation.html_worst_cases import worst_cases
from bimcvr.evaluation.result import Draws
from bimcvr.evaluation.text_table import WAYS, cell
from bimcvr.html.render import render
from bimcvr.metrics.rank_engine import rank_both
from bimcvr.metrics.ranks import RULES, right_answers


def write_page(
    path: Path, result: dict[str, Any], embeddings: Embeddings, gallery: Gallery, manifest: Manifest, draws: Draws
) -> None:
    """Write a page that stands alone: no script, no request; it shows reports and slices of volumes.

    Args:
        path: the HTML file.
        result: as `build_result` makes it, with its `about` and, where they are there, `ceiling`, `compared_with` and
            `audited`. A family of figures that it lacks has no section.
        embeddings: those that were scored, of the first run where there are several; the gallery's rows in its order.
        gallery: the rows.
        manifest: reports are taken from it, and volumes read.
        draws: those of the result.
    """
    rule = next(name for name, text in RULES.items() if text == result["rule"])
    group = right_answers(gallery, rule)
    ranked = dict(zip(WAYS, rank_both(embeddings.image, embeddings.text, group), strict=True))
    metrics = result["metrics"]
    write_text(
        path,
        render(
            "evaluation/page.html",
            synthetic=manifest.is_phantom,
            has_patients=manifest.has_patients,
            result=result,
            about=result["about"],
            ways=WAYS,
            facts=_facts(result),
            headlines=_headlines(result),
            window=CHEST_WINDOW,
            shown=shown,
            bounds=bounds,
            signed=signed,
            histogram=rank_histogram(ranked, group),
            curve=recall_curve(ranked, group, gallery.patient, draws),
            draws=draws,
            lift=_lift_name(metrics.get("keyword", {})),
            cases=worst_cases(embeddings, gallery, group, ranked, manifest),
        ),
    )


def shown(name: str, value: float | None) -> str:
    """Write a figure with its unit; a dash where it has no value."""
    if value is None or not math.isfinite(value):
        return "–"
    return re.sub(r"^-(?=[0.]+( %)?$)", "", cell(name, value)).replace("-", "−")  # no minus before a zero


def bounds(name: str, interval: Sequence[float] | None) -> str:
    """Write an interval in brackets, without unit; nothing where there is none."""
    if interval is None or not all(map(math.isfinite, interval)):
        return ""
    return f"[{', '.join(shown(name, bound).removesuffix(' %') for bound in interval)}]"


def signed(name: str, value: float) -> str:
    """Write a difference of two figures: always with its sign, percentages in points."""
    if not math.isfinite(value):
        return "–"
    return (f"{value:+z.3f}" if name in ("MRR", "AUROC") else f"{value:+z.1f}").replace("-", "−")


def _facts(result: dict[str, Any]) -> dict[str, str]:
    about, ties = result["about"], result["queries_with_ties"]
    facts = {
        "Split": f"{about['split']}, by {about['split_strategy']}: {about.get('split_shares', '')}".removesuffix(": "),
        "Queries = gallery": f"{result['n_queries']} studies of {result['n_patients']} patients, in both directions",
        "Right answers": f"{result['rule']}; {result['queries_with_several_right_answers']} queries have several",
        "Queries with ties": ", ".join(f"{ties[way]} {title}" for way, title in WAYS.items()),
        "Intervals": result["interval"],
        "Manifest": f"{about['manifest']}, hash {about['manifest_hash']}",
        "Encoders": ", ".join(
            str(about[name]) for name in ("volume_encoder", "text_encoder", "text_model") if about.get(name)
        ),
        "Embeddings": ", ".join(
            f"{name} {f'(sha256 {digest[:12]}…)' if digest else ''}".strip()
            for name, digest in about.get("embeddings", {}).items()
        ),
        "Checkpoint": str(about.get("checkpoint", "")),
        "Commit": str(about.get("git_commit", "")),
        "Seed": str(about["seed"]),
    }
    if "runs" in result:
        facts["Runs"] = (
            f"{result['runs']}: figures are means over them, ± the standard deviation over them; the two charts and "
            "the worst queries are of the first run"
        )
    return {name: text for name, text in facts.items() if text}


def _headlines(result: dict[str, Any]) -> list[str]:
    """Say the one figure that most will look for in a sentence, by direction."""
    asked = {"text_to_image": ("a report", "volume"), "image_to_text": ("a volume", "report")}
    lines = []
    for way, (query, answer) in asked.items():
        of = result["metrics"][way]
        name = next((name for name in ("R@10", "R@5", *of) if name in of and name.startswith("R@")), None)
        if name is None:
            continue
        lines.append(
            f"Given {query}, the right {answer} is among the first {name.removeprefix('R@')} of {result['n_gallery']}"
            f" in {shown(name, of[name])} {bounds(name, result['intervals'][way].get(name))} of the searches (chance"
            f" {shown(name, result['chance'][name])}); its median rank is {shown('MdR', of['MdR']).removesuffix('.0')}."
        )
    return lines


def _lift_name(keyword: dict[str, dict[str, float]]) -> str:
    """Return the lift at the smallest K that there is, as lift@20; empty where there is none."""
    names = {name for of in keyword.values() for name in of if name.startswith("lift@")}
    return min(names, key=lambda name: int(name.removeprefix("lift@")), default="")
