"""A result as plain text for the terminal: the retrieval figures of the paper first, then the other tables."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from bimcvr.data.hu.model_grid import describe_grid
from bimcvr.evaluation.columns import columns, paragraph
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES

NAMESAKES = (
    "have study or patient ids of the model's training, but none the volume or report of a row with its id: they are"
    " taken for rows of another archive"
)


LABELS = 8
"""Of more labels the most frequent are printed; the page and the file of the result have all."""


def format_result(result: dict[str, Any], width: int = 80) -> str:
    """Format a result: both directions with 95 % intervals, chance and ceiling beside them, N and split above.

    Args:
        result: As `build_result` returns it, with `about` and optionally `ceiling` (what an oracle reaches, by
            direction), `compared_with` and `audited`.
        width: the most characters of a line.
    """
    sections = [
        list(chain.from_iterable(paragraph(line, width) for line in _head(result))),
        columns(_direction_rows(result), width),
        *_compared(result, width),
        _keywords(result, width),
        _table("probes: how often the true report wins against a changed one", _probe_rows(result), width),
        _places(result, width),
        _slices(result, width),
        *_audited(result, width),
        *_pools(result, width),
        _elsewhere(result, width),
        list(chain.from_iterable(paragraph(f"note: {note}", width) for note in result["notes"])),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


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


def p_text(difference: Mapping[str, Any], floor: float | None) -> str:
    """Return a p-value, with ≤ where no round of the test reached the difference: more rounds could make it smaller.

    Args:
        difference: with `p` and, corrected for several methods, `p_holm`.
        floor: the least p that the test can give.
    """
    sign = "≤ " if floor is not None and difference["p"] <= floor * (1 + 1e-9) else ""
    return f"{sign}{difference.get('p_holm', difference['p']):.4f}"


def _table(title: str, rows: list[list[str]], width: int) -> list[str]:
    """Return a table below its title; nothing where it has no rows but the heads."""
    return [*paragraph(title, width), *columns(rows, width)] if len(rows) > 1 else []


def _direction_rows(result: dict[str, Any]) -> list[list[str]]:
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
    return rows


def _keywords(result: dict[str, Any], width: int) -> list[str]:
    found = result["metrics"].get("keyword", {})
    zero_shot = result["metrics"].get("zero_shot", {})
    if not found:
        return []
    shown = sorted(found, key=lambda label: -found[label]["prevalence"])[:LABELS]
    precisions = [name for name in found[shown[0]] if name.startswith("P@")]
    heads = ["label", *precisions, "AP", "chance", *(["AUROC"] if zero_shot else [])]
    rows = [heads]
    for label in shown:
        metrics = found[label]
        cells = [cell(name, metrics[name]) if name in metrics else "" for name in (*precisions, "AP", "prevalence")]
        auroc = [f"{zero_shot[label]['AUROC']:.2f}" if label in zero_shot else ""] if zero_shot else []
        rows.append([label, *cells, *auroc])
    title = "keyword search (chance: the prevalence" + ("; AUROC: zero-shot)" if zero_shot else ")")
    left = len(found) - len(shown)
    more = f"{left} rarer labels are in the result's file and page" if left else ""
    return [*_table(title, rows, width), *filter(None, [more]), *_zero_shot_mean(result, width)]


def _zero_shot_mean(result: dict[str, Any], width: int) -> Iterator[str]:
    mean = result["metrics"].get("zero_shot_mean", {}).get("labels")
    if mean:
        text = with_interval("AUROC", mean["AUROC"], result["intervals"]["zero_shot_mean"]["labels"].get("AUROC"))
        yield from paragraph(
            f"zero-shot AUROC, mean over {mean['count']:.0f} labels: {text} (chance 0.5); by affirming sentences"
            f" alone {mean['AUROC_affirming']:.3f}, minus denying ones {mean['AUROC_pair']:.3f}",
            width,
        )


def _elsewhere(result: dict[str, Any], width: int) -> list[str]:
    """Return a line on the figures that are not printed."""
    found = result["metrics"].get("label_relevance", {})
    if not found:
        return []
    names = [name for name in next(iter(found.values())) if name.startswith(("mAP", "Jaccard"))]
    ways = ", ".join(direction.replace("_", " ") for direction in found)
    return paragraph(f"in the result's file and page: {', '.join(names)} by shared labels, {ways}", width)


def _probe_rows(result: dict[str, Any]) -> list[list[str]]:
    intervals = result["intervals"].get("probes", {})
    return [
        ["changed", "studies", "won (chance 50 %)", "by another patient's volume"],
        *(
            [
                kind,
                f"{metrics['studies']:.0f}",
                with_interval("won", metrics["won"], intervals[kind].get("won")),
                cell("other_won", metrics["other_won"]) if "other_won" in metrics else "",
            ]
            for kind, metrics in result["metrics"].get("probes", {}).items()
        ),
    ]


def _places(result: dict[str, Any], width: int) -> list[str]:
    findings = result["metrics"].get("localisation", {})
    if not findings:
        return []
    about = result["localisation"]
    size = " × ".join(f"{mm:.0f}" for mm in about["token_mm"])
    heads = ["finding", "studies"]
    names = ("pointing", "mass")
    heads += list(chain.from_iterable((name, "chance", "another query") for name in names))
    rows = [heads]
    for finding, metrics in findings.items():
        row = [finding, f"{metrics['studies']:.0f}"]
        for name in names:
            row.append(with_interval(name, metrics[name], result["intervals"]["localisation"][finding].get(name)))
            row.append(cell(name, metrics[f"chance_{name}"]))
            row.append(cell(name, metrics[f"other_{name}"]) if f"other_{name}" in metrics else "")
        rows.append(row)
    how = "inner maps" if about["how"] == "maps" else about["how"]
    title = f"where the model looks, no diagnosis: by {how} of {size} mm (slices, rows, columns)"
    return _table(title, rows, width)


def _slices(result: dict[str, Any], width: int) -> list[str]:
    search = result.get("slice_search")
    if not search:
        return []
    hows = ("freq", "max", "sum")
    names = [name for name in search[hows[0]]["metrics"] if name in ("R@1", "R@5", "R@10", "MdR", "MnR")]
    rows = [["", *hows]]
    for name in names:
        found = (search[how] for how in hows)
        rows.append([name, *(with_interval(name, one["metrics"][name], one["intervals"][name]) for one in found)])
    title = f"text → image slice by slice, {search['hits']} hits among {search['slices']} slices of each volume"
    return _table(title, rows, width)


def _compared(result: dict[str, Any], width: int) -> Iterator[list[str]]:
    """Yield a table for each other method: this one, the other one, and the difference."""
    several = len(result.get("compared_with", [])) > 1
    for other in result.get("compared_with", []):
        title = (
            f"compared with {', '.join(other['embeddings'])}{_made_by(other)}{_other_grid(result['about'], other)}"
            f" (difference: this − other); p by swapping"
            f" {'patients' if result['n_patients'] is not None else 'studies'}"
            + (", Holm-corrected over the methods compared" if several else "")
        )
        rows = [["", "this", "other", "difference", "p"]]
        for direction, way in DIRECTION_TITLES.items():
            for name, difference in other["differences"][direction].items():
                rows.append(
                    [
                        f"{way}  {name}",
                        cell(name, result["metrics"][direction][name]),
                        cell(name, other["metrics"][direction][name]),
                        with_interval(name, difference["difference"], difference["interval"]),
                        p_text(difference, other.get("p_floor")),
                    ]
                )
        yield _table(title, rows, width)


def _audited(result: dict[str, Any], width: int) -> Iterator[list[str]]:
    audited = result.get("audited")
    if not audited:
        return
    names = {
        "whole": "whole split",
        "sound": "unflagged rows",
        "whole_cut": "random, same size",
    }
    parts = {key: audited[key] for key in names if key in audited}
    shown = [*_recalls(audited["whole"]["metrics"]["text_to_image"]), "MdR"]
    rows = [["", "n", *chain.from_iterable((name, "chance") for name in shown)]]
    for key, part in parts.items():
        for direction, title in DIRECTION_TITLES.items():
            row = [f"{names[key]}, {title}", str(part["n"])]
            for name in shown:
                found = part["metrics"][direction].get(name)
                interval = part["intervals"][direction].get(name)
                row += (
                    ["", ""]
                    if found is None
                    else [with_interval(name, found, interval), cell(name, part["chance"][name])]
                )
            rows.append(row)
    title = (
        f"raw against audited: {audited['flagged']} rows are flagged, the report of {audited['elsewhere']} does not"
        " belong to its volume"
    )
    yield _table(title, rows, width)
    rows = [["noise ceiling", *DIRECTION_TITLES.values()]]
    for key, ceiling in audited["ceiling"].items():
        for name in [*_recalls(ceiling["text_to_image"])[:1], "MnR"]:
            rows.append([f"{names[key]}, {name}", *(cell(name, ceiling[way][name]) for way in DIRECTION_TITLES)])
    yield columns(rows, width)


def _pools(result: dict[str, Any], width: int) -> Iterator[list[str]]:
    for pool in result.get("pools", []):
        rows = [["", *DIRECTION_TITLES.values(), "chance"]]
        for name, chance in pool["chance"].items():
            if name in pool["metrics"]["text_to_image"]:
                found = (
                    with_interval(name, pool["metrics"][way][name], pool["intervals"][way][name])
                    for way in DIRECTION_TITLES
                )
                rows.append([name, *found, cell(name, chance)])
        yield _table(f"pools of {pool['size']}, {pool['draws']} draws", rows, width)


def _recalls(metrics: dict[str, float]) -> list[str]:
    """Return R@1 and R@10, or the R@K that there are if neither was requested."""
    return [name for name in ("R@1", "R@10") if name in metrics] or [name for name in metrics if name.startswith("R@")]
