"""A result as plain text for the terminal."""

from collections.abc import Mapping
from typing import Any

from bimcvr.data.hu.model_grid import describe_grid
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES

NAMESAKES = (
    "have study or patient ids of the model's training, but none the volume or report of a row with its id: they are"
    " taken for rows of another archive"
)


def format_result(result: dict[str, Any]) -> str:
    """Format a result: both directions with 95 % intervals, chance and ceiling beside them, N and split above.

    Args:
        result: As `build_result` returns it, with `about` and optionally `ceiling` (what an oracle reaches, by
            direction), `compared_with` and `audited`.
    """
    return "\n".join(
        [
            *_head(result),
            *_direction_lines(result),
            *_keyword_lines(result),
            *_relevance_lines(result),
            *_probe_lines(result),
            *_place_lines(result),
            *_slice_lines(result),
            *[f"note: {note}" for note in result["notes"]],
            *_compared_lines(result),
            *_audited_lines(result),
            *_pool_lines(result),
        ]
    )


def cell(name: str, value: float) -> str:
    """Format a metric with its unit."""
    if name.startswith(
        ("R@", "P@", "mAP@", "Jaccard@", "AP", "won", "chance_", "prevalence", "pointing", "mass", "other_")
    ):
        return f"{value:.1f} %"
    return f"{value:.3f}" if name in ("MRR", "AUROC") else f"{value:.1f}"


def with_interval(name: str, value: float, interval: list[float] | None) -> str:
    """Format a metric, followed by its interval."""
    if interval is None:
        return cell(name, value)
    low, high = (cell(name, bound).removesuffix(" %") for bound in interval)
    return f"{cell(name, value)} [{low}, {high}]"


def kind_of_data(result: dict[str, Any]) -> str:
    """Say whether a result is about phantoms or patients, and how much of it the model was trained on."""
    kind = "PHANTOM (synthetic data)" if result["about"]["synthetic"] else "data"
    if has_random_weights(result["about"]):
        kind += ", RANDOM WEIGHTS"
    trained = result["about"].get("trained_on")
    if not trained:
        return kind
    counts = ((trained["rows"], "ROWS TRAINED ON"), (trained["patients_rows"], "ROWS OF PATIENTS TRAINED ON"))
    return ", ".join([kind, *(f"{count} OF {result['n_queries']} {what}" for count, what in counts if count)])


def has_random_weights(about: Mapping[str, Any]) -> bool:
    """Say whether one of the two encoders has random weights in place of published ones: it is not that model then."""
    return any("random weights" in str(about.get(name)) for name in ("volume_encoder", "text_encoder"))


def gallery_choice(about: dict[str, Any]) -> str:
    """Say which of the split's rows are scored; empty where all are."""
    if "gallery" not in about:
        return ""
    rows = {"one_per_patient": "the first row of each patient", "one_per_report": "the first row of each report"}
    return f" ({rows[about['gallery']]}; {about['rows_left_out_of_gallery']} rows left out)"


def patients_in(result: dict[str, Any]) -> str:
    """Return how many patients the rows are of, or that the manifest names none."""
    count = result["n_patients"]
    return f"{count} patients" if count is not None else "no patient_id (each study its own patient)"


def _head(result: dict[str, Any]) -> list[str]:
    about = result["about"]
    unit = "patient" if result["n_patients"] is not None else "study"
    head = [
        (
            f"{kind_of_data(result)}: split {about['split']} by {about['split_strategy']}; {result['n_queries']}"
            f" queries = gallery{gallery_choice(about)}, {patients_in(result)}, manifest"
            f" {about['manifest_hash']}, seed {about['seed']}"
        ),
    ]
    if "embeddings" in about:
        head.append(f"embeddings: {', '.join(about['embeddings'])}{_made_by(about)}; 95 % intervals by {unit}")
    else:
        zero_shot = "; zero-shot: nothing was trained" if about.get("zero_shot") else ""
        head.append(
            f"encoders: {about['volume_encoder']}, {about['text_encoder']}{zero_shot}; 95 % intervals by {unit}"
        )
    if "runs" in result:
        head.append(f"mean over {result['runs']} runs; sd over them in brackets ()")
    if about.get("spacing_mm"):
        head.append(f"grid: {describe_grid(about)}")
    if about.get("lungs_cut", {}).get("cut"):
        cut = about["lungs_cut"]
        head.append(
            f"WARNING: the grid cuts away more than 1 % of the lungs in {cut['cut']} of {cut['volumes']} volumes, at"
            f" worst {cut['worst_share']:.0%}"
        )
    if about.get("patient_overlap"):
        head.append(f"WARNING: {about['patient_overlap']} patients occur in more than one split")
    if about.get("namesakes"):
        head.append(f"WARNING: {about['namesakes']} rows {NAMESAKES}")
    return head


def _made_by(method: dict[str, Any]) -> str:
    names = [method[name] for name in ("volume_encoder", "text_encoder") if name in method]
    return f" by {', '.join(names)}" if names else ""


def _other_grid(about: dict[str, Any], other: dict[str, Any]) -> str:
    if "grid" not in about or "grid" not in other or describe_grid(about) == describe_grid(other):
        return ""
    return f", which saw the volumes at {describe_grid(other)}, the first at {describe_grid(about)}"


def _direction_lines(result: dict[str, Any]) -> list[str]:
    ceiling, spread = result.get("ceiling", {}), result.get("seeds_sd")
    ceilings = [f"ceiling {title}" for title in DIRECTION_TITLES.values()] if ceiling else []
    rows = [["", *DIRECTION_TITLES.values(), "chance", *ceilings]]
    for name in result["metrics"]["text_to_image"]:
        cells = []
        for direction in DIRECTION_TITLES:
            text = with_interval(name, result["metrics"][direction][name], result["intervals"][direction].get(name))
            sd = f" ({cell(name, spread[direction][name]).removesuffix(' %')})" if spread else ""
            cells.append(text + sd)
        cells.append(cell(name, result["chance"][name]))
        if ceiling:
            cells += [cell(name, ceiling[key][name]) if name in ceiling[key] else "" for key in DIRECTION_TITLES]
        rows.append([name, *cells])
    width = 2 + max(len(text) for _, *cells in rows for text in cells)
    return ["", *(f"{name:<6}" + "".join(f"{text:>{width}}" for text in cells) for name, *cells in rows)]


def _keyword_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    zero_shot = result["metrics"].get("zero_shot", {})
    for label, metrics in result["metrics"].get("keyword", {}).items():
        precision = [f"{name} {value:.1f} %" for name, value in metrics.items() if name.startswith("P@")]
        text = ", ".join([*precision, f"AP {metrics['AP']:.1f} %"])
        auroc = f"; zero-shot AUROC {zero_shot[label]['AUROC']:.2f}" if label in zero_shot else ""
        lines.append(f"keyword {label}: {text} (chance = prevalence {metrics['prevalence']:.1f} %){auroc}")
    mean = result["metrics"].get("zero_shot_mean", {}).get("labels")
    if mean:
        text = with_interval("AUROC", mean["AUROC"], result["intervals"]["zero_shot_mean"]["labels"].get("AUROC"))
        lines += [
            f"zero-shot AUROC, mean over {mean['count']:.0f} labels: {text} (chance 0.5); affirming sentences alone"
            f" {mean['AUROC_affirming']:.3f}, minus denying ones {mean['AUROC_pair']:.3f}",
            *(f"  score: {why}" for why in result["zero_shot_score"]),
        ]
    return ["", *lines] if lines else []


def _relevance_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    for direction, metrics in result["metrics"].get("label_relevance", {}).items():
        text = ", ".join(
            f"{name} {value:.1f} % (chance {metrics[f'chance_{name}']:.1f} %)"
            for name, value in metrics.items()
            if name.startswith(("mAP", "Jaccard"))
        )
        lines.append(f"shared labels, {direction.replace('_', ' ')}, {metrics['queries']:.0f} queries: {text}")
    return ["", *lines] if lines else []


def _probe_lines(result: dict[str, Any]) -> list[str]:
    probes = result["metrics"].get("probes", {})
    lines = [
        f"probe {kind}: the true report wins in"
        f" {with_interval('won', metrics['won'], result['intervals']['probes'][kind].get('won'))} of"
        f" {metrics['studies']:.0f} (chance 50 %)"
        for kind, metrics in probes.items()
    ]
    return ["", *lines] if lines else []


def _place_lines(result: dict[str, Any]) -> list[str]:
    findings = result["metrics"].get("localisation", {})
    if not findings:
        return []
    about = result["localisation"]
    size = " × ".join(f"{mm:.0f}" for mm in about["token_mm"])
    lines = ["", f"where the model looks, no diagnosis: maps by {about['how']} of {size} mm (slices, rows, columns)"]
    for finding, metrics in findings.items():
        parts = []
        for name in ("pointing", "mass"):
            value = with_interval(name, metrics[name], result["intervals"]["localisation"][finding].get(name))
            beside = [f"chance {cell(name, metrics[f'chance_{name}'])}"]
            if f"other_{name}" in metrics:
                beside.append(f"another query {cell(name, metrics[f'other_{name}'])}")
            parts.append(f"{name} {value} ({', '.join(beside)})")
        lines.append(f"{finding}, {metrics['studies']:.0f} studies: {'; '.join(parts)}")
    return lines


def _slice_lines(result: dict[str, Any]) -> list[str]:
    search = result.get("slice_search")
    if not search:
        return []
    lines = ["", f"text → image slice by slice, {search['hits']} hits among {search['slices']} slices of each volume:"]
    for how in ("freq", "max", "sum"):
        metrics, intervals = search[how]["metrics"], search[how]["intervals"]
        text = ", ".join(
            f"{name} {with_interval(name, metrics[name], intervals[name])}"
            for name in metrics
            if name in ("R@1", "R@5", "R@10", "MdR", "MnR")
        )
        lines.append(f"{how:<5}{text}")
    return lines


def _compared_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    for other in result.get("compared_with", []):
        lines += [
            "",
            f"difference to {', '.join(other['embeddings'])}{_made_by(other)}{_other_grid(result['about'], other)}"
            f" (first − other), p by swapping {'patients' if result['n_patients'] is not None else 'studies'}"
            + (", p Holm-corrected over the methods compared" if len(result["compared_with"]) > 1 else ""),
        ]
        for direction, title in DIRECTION_TITLES.items():
            for name, difference in other["differences"][direction].items():
                p = difference.get("p_holm", difference["p"])
                text = with_interval(name, difference["difference"], difference["interval"])
                lines.append(f"{title:<14}{name:<6}{text:>30}   p = {p:.4f}")
    return lines


def _audited_lines(result: dict[str, Any]) -> list[str]:
    audited = result.get("audited")
    if not audited:
        return []
    names = {
        "whole": "whole split",
        "sound": "rows without flags",
        "whole_cut": "random subsets of that size (200)",
    }
    lines = [
        "",
        (
            f"raw against audited: {audited['flagged']} rows are flagged, the report of {audited['elsewhere']} does not"
            " belong to its volume"
        ),
    ]
    for key, part_title in names.items():
        if key not in audited:
            continue
        part = audited[key]
        for direction, title in DIRECTION_TITLES.items():
            text = ", ".join(
                f"{name} {with_interval(name, part['metrics'][direction][name], part['intervals'][direction][name])} "
                f"(chance {cell(name, part['chance'][name])})"
                for name in [*_recalls(part["metrics"][direction]), "MdR"]
            )
            lines.append(f"{part_title}, n = {part['n']}, {title}: {text}")
    for key, ceiling in audited["ceiling"].items():
        parts = []
        for direction, title in DIRECTION_TITLES.items():
            metrics = ceiling[direction]
            names_shown = [*_recalls(metrics)[:1], "MnR"]
            parts.append(f"{title} " + ", ".join(f"{name} {cell(name, metrics[name])}" for name in names_shown))
        lines.append(f"noise ceiling, {names[key]}: {'; '.join(parts)}")
    return lines


def _pool_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    for pool in result.get("pools", []):
        for direction, title in DIRECTION_TITLES.items():
            text = ", ".join(
                f"{name} {with_interval(name, value, pool['intervals'][direction][name])} (chance"
                f" {cell(name, pool['chance'][name])})"
                for name, value in pool["metrics"][direction].items()
            )
            lines.append(f"pools of {pool['size']}, {pool['draws']} draws, {title}: {text}")
    return ["", *lines] if lines else []


def _recalls(metrics: dict[str, float]) -> list[str]:
    """Return R@1 and R@10, or the R@K that there are if neither was requested."""
    return [name for name in ("R@1", "R@10") if name in metrics] or [name for name in metrics if name.startswith("R@")]
