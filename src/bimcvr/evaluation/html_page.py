"""A result as one self-contained HTML file: tables, charts, and the queries that went worst."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import write_text
from bimcvr.contracts import Gallery
from bimcvr.data.hu.model_grid import describe_grid
from bimcvr.data.manifest import Manifest
from bimcvr.data.slice_pictures import CHEST_WINDOW
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.html_figures import rank_histogram, recall_curve
from bimcvr.evaluation.html_worst_cases import shown_queries
from bimcvr.evaluation.result import Resampling
from bimcvr.evaluation.text_table import NAMESAKES, cell, gallery_choice, p_text, patients_in
from bimcvr.html.render import render
from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES, RULES, right_answers


def write_page(
    path: Path,
    result: dict[str, Any],
    embeddings: Embeddings,
    gallery: Gallery,
    manifest: Manifest,
    resampling: Resampling,
    others: Mapping[str, Embeddings] | None = None,
) -> None:
    """Write a self-contained page, without scripts or requests; it shows reports and slices of volumes.

    Args:
        path: The HTML file.
        result: As `build_result` returns it, with `about` and optionally `ceiling`, `compared_with` and `audited`. A
            family of metrics that is absent has no section.
        embeddings: The scored embeddings (of the first run if there are several), the gallery's rows in its order.
        gallery: The rows.
        manifest: Where reports and volumes are read from.
        resampling: How the result's intervals were drawn.
        others: Of each other method its name and its embeddings, of the first run. Its curve is drawn beside this one,
            and the queries that are shown are those that differ most from the first other method's.
    """
    rule = next(name for name, text in RULES.items() if text == result["rule"])
    group = right_answers(gallery, rule)
    ranks = dict(zip(DIRECTION_TITLES, rank_both(embeddings.image, embeddings.text, group), strict=True))
    others_ranks = {
        name: dict(zip(DIRECTION_TITLES, rank_both(other.image, other.text, group), strict=True))
        for name, other in (others or {}).items()
    }
    metrics = result["metrics"]
    write_text(
        path,
        render(
            "evaluation/page.html",
            synthetic=manifest.is_phantom,
            has_patients=manifest.has_patients,
            result=result,
            about=result["about"],
            directions=DIRECTION_TITLES,
            facts=_facts(result),
            namesakes=NAMESAKES,
            headlines=_headlines(result),
            window=CHEST_WINDOW,
            with_unit=with_unit,
            p_text=p_text,
            interval_text=interval_text,
            signed_difference=signed_difference,
            histogram=rank_histogram(ranks, group),
            curve=recall_curve(ranks, group, gallery.patient, resampling, others_ranks),
            resampling=resampling,
            unit="patients" if result["n_patients"] is not None else "studies",
            lift=_lift_name(metrics.get("keyword", {})),
            other_name=next(iter(others_ranks), ""),
            shown_queries=shown_queries(
                embeddings, gallery, group, ranks, manifest, next(iter(others_ranks.values()), None)
            ),
        ),
    )


def with_unit(name: str, value: float | None) -> str:
    """Format a metric with its unit; a dash where it has no value."""
    if value is None or not math.isfinite(value):
        return "–"
    return re.sub(r"^-(?=[0.]+( %)?$)", "", cell(name, value)).replace("-", "−")  # no minus sign before a zero


def interval_text(name: str, interval: Sequence[float] | None) -> str:
    """Format an interval in brackets, without unit; empty where there is none."""
    if interval is None or not all(map(math.isfinite, interval)):
        return ""
    return f"[{', '.join(with_unit(name, bound).removesuffix(' %') for bound in interval)}]"


def signed_difference(name: str, value: float) -> str:
    """Format a difference of two metrics: always with its sign, percentages in points."""
    if not math.isfinite(value):
        return "–"
    return (f"{value:+z.3f}" if name in ("MRR", "AUROC") else f"{value:+z.1f}").replace("-", "−")


def _facts(result: dict[str, Any]) -> dict[str, str]:
    about, ties = result["about"], result["queries_with_ties"]
    facts = {
        "Split": f"{about['split']}, by {about['split_strategy']}: {about.get('split_shares', '')}".removesuffix(": "),
        "Queries = gallery": f"{result['n_queries']} studies, {patients_in(result)}{gallery_choice(about)},"
        " in both directions",
        "Right answers": f"{result['rule']}; {result['queries_with_several_right_answers']} queries have several",
        "Queries with ties": ", ".join(f"{ties[direction]} {title}" for direction, title in DIRECTION_TITLES.items()),
        "Intervals": result["interval"],
        "Manifest": f"{about['manifest']}, hash {about['manifest_hash']}",
        "Labels": source if (source := about.get("labels_from", "column")) != "column" else "",
        "Grid": describe_grid(about) if about.get("grid") else "",
        "Lungs cut away by the grid": (
            f"more than 1 % in {cut['cut']} of {cut['volumes']} volumes, at worst {cut['worst_share']:.0%}"
            if (cut := about.get("lungs_cut", {})).get("cut")
            else ""
        ),
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
            f"{result['runs']}: metrics are means over them, ± the standard deviation over them; the two charts and "
            "the worst queries are of the first run"
        )
    return {name: text for name, text in facts.items() if text}


def _headlines(result: dict[str, Any]) -> list[str]:
    """State the most asked-for metric of each direction in a sentence."""
    nouns = {"text_to_image": ("a report", "volume"), "image_to_text": ("a volume", "report")}
    lines = []
    for direction, (query, answer) in nouns.items():
        metrics = result["metrics"][direction]
        name = next((name for name in ("R@10", "R@5", *metrics) if name in metrics and name.startswith("R@")), None)
        if name is None:
            continue
        recall = f"{with_unit(name, metrics[name])} {interval_text(name, result['intervals'][direction].get(name))}"
        median_rank = with_unit("MdR", metrics["MdR"]).removesuffix(".0")
        lines.append(
            f"Given {query}, the right {answer} is among the first {name.removeprefix('R@')} of {result['n_gallery']}"
            f" in {recall} of the searches (chance {with_unit(name, result['chance'][name])}); its median rank is"
            f" {median_rank}."
        )
    return lines


def _lift_name(keyword: dict[str, dict[str, float]]) -> str:
    """Return the name of the lift at the smallest K, such as lift@20; empty where there is none."""
    names = {name for metrics in keyword.values() for name in metrics if name.startswith("lift@")}
    return min(names, key=lambda name: int(name.removeprefix("lift@")), default="")
