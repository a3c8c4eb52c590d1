"""A result as a table that a person reads."""

from typing import Any

WAYS = {"text_to_image": "text → image", "image_to_text": "image → text"}


def format_result(result: dict[str, Any]) -> str:
    """Lay a result out: both directions with their 95 % intervals, chance and ceiling beside, N and split above.

    Args:
        result: as `build_result` makes it, with its `about` and, where they are there, the `ceiling` by direction that
            an oracle reaches, `compared_with` and `audited`.
    """
    return "\n".join(
        [
            *_head(result),
            *_direction_lines(result),
            *_keyword_lines(result),
            *_relevance_lines(result),
            *_probe_lines(result),
            *_slice_lines(result),
            *[f"note: {note}" for note in result["notes"]],
            *_compared_lines(result),
            *_audited_lines(result),
        ]
    )


def cell(name: str, value: float) -> str:
    """Write a figure with its unit."""
    if name.startswith(("R@", "P@", "mAP@", "Jaccard@", "AP", "won", "chance_", "prevalence")):
        return f"{value:.1f} %"
    return f"{value:.3f}" if name in ("MRR", "AUROC") else f"{value:.1f}"


def with_interval(name: str, value: float, interval: list[float] | None) -> str:
    """Write a figure with its interval behind it."""
    if interval is None:
        return cell(name, value)
    low, high = (cell(name, bound).removesuffix(" %") for bound in interval)
    return f"{cell(name, value)} [{low}, {high}]"


def kind_of_data(result: dict[str, Any]) -> str:
    """Say whether a result is about phantoms or patients."""
    return "PHANTOM (synthetic data)" if result["about"]["synthetic"] else "data"


def _head(result: dict[str, Any]) -> list[str]:
    about = result["about"]
    head = [
        (
            f"{kind_of_data(result)}: split {about['split']} by {about['split_strategy']}; {result['n_queries']}"
            f" queries = gallery, {result['n_patients']} patients, manifest {about['manifest_hash']}, seed"
            f" {about['seed']}"
        ),
    ]
    if "volume_encoder" in about:
        zero_shot = "; zero-shot: nothing was trained" if about.get("zero_shot") else ""
        head.append(
            f"encoders: {about['volume_encoder']}, {about['text_encoder']}{zero_shot}; 95 % intervals by patient"
        )
    else:
        head.append(f"embeddings: {', '.join(about['embeddings'])}; 95 % intervals by patient")
    if "runs" in result:
        head.append(f"mean over {result['runs']} runs; sd over them in brackets ()")
    if about.get("patient_overlap"):
        head.append(f"WARNING: {about['patient_overlap']} patients stand in more than one split")
    return head


def _direction_lines(result: dict[str, Any]) -> list[str]:
    ceiling = result.get("ceiling")
    columns = [*WAYS.values(), "chance", *([f"ceiling {way}" for way in WAYS.values()] if ceiling else [])]
    rows = [["", *columns]]
    for name in result["metrics"]["text_to_image"]:
        cells = []
        for way in WAYS:
            text = with_interval(name, result["metrics"][way][name], result["intervals"][way].get(name))
            cells.append(
                text
                + (f" ({cell(name, result['seeds_sd'][way][name]).removesuffix(' %')})" if "seeds_sd" in result else "")
            )
        cells.append(cell(name, result["chance"][name]))
        cells += [cell(name, ceiling[way][name]) if name in ceiling[way] else "" for way in WAYS] if ceiling else []
        rows.append([name, *cells])
    width = 2 + max(len(text) for _, *cells in rows for text in cells)
    return ["", *(f"{name:<6}" + "".join(f"{text:>{width}}" for text in cells) for name, *cells in rows)]


def _keyword_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    zero_shot = result["metrics"].get("zero_shot", {})
    for label, figures in result["metrics"].get("keyword", {}).items():
        precision = [f"{name} {value:.1f} %" for name, value in figures.items() if name.startswith("P@")]
        shown = ", ".join([*precision, f"AP {figures['AP']:.1f} %"])
        auroc = f"; zero-shot AUROC {zero_shot[label]['AUROC']:.2f}" if label in zero_shot else ""
        lines.append(f"keyword {label}: {shown} (chance = prevalence {figures['prevalence']:.1f} %){auroc}")
    return ["", *lines] if lines else []


def _relevance_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    for way, figures in result["metrics"].get("label_relevance", {}).items():
        shown = ", ".join(
            f"{name} {value:.1f} % (chance {figures[f'chance_{name}']:.1f} %)"
            for name, value in figures.items()
            if name.startswith(("mAP", "Jaccard"))
        )
        lines.append(f"shared labels, {way.replace('_', ' ')}, {figures['queries']:.0f} queries: {shown}")
    return ["", *lines] if lines else []


def _probe_lines(result: dict[str, Any]) -> list[str]:
    probes = result["metrics"].get("probes", {})
    lines = [
        f"probe {kind}: the true report wins in"
        f" {with_interval('won', of['won'], result['intervals']['probes'][kind].get('won'))} of {of['studies']:.0f}"
        " (chance 50 %)"
        for kind, of in probes.items()
    ]
    return ["", *lines] if lines else []


def _slice_lines(result: dict[str, Any]) -> list[str]:
    search = result.get("slice_search")
    if not search:
        return []
    lines = ["", f"text → image slice by slice, {search['hits']} hits among {search['slices']} slices of each volume:"]
    for how in ("freq", "max", "sum"):
        of = search[how]
        shown = ", ".join(
            f"{name} {with_interval(name, of['metrics'][name], of['intervals'][name])}"
            for name in of["metrics"]
            if name in ("R@1", "R@5", "R@10", "MdR", "MnR")
        )
        lines.append(f"{how:<5}{shown}")
    return lines


def _compared_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    for other in result.get("compared_with", []):
        lines += [
            "",
            f"difference to {', '.join(other['embeddings'])} (first − other), p by swapping patients"
            + (", p Holm-corrected over the methods compared" if len(result["compared_with"]) > 1 else ""),
        ]
        for way, title in WAYS.items():
            for name, of in other["differences"][way].items():
                p = of.get("p_holm", of["p"])
                lines.append(
                    f"{title:<14}{name:<6}{with_interval(name, of['difference'], of['interval']):>30}   p = {p:.4f}"
                )
    return lines


def _audited_lines(result: dict[str, Any]) -> list[str]:
    audited = result.get("audited")
    if not audited:
        return []
    names = {
        "whole": "whole split",
        "sound": "rows without flags",
        "whole_cut": "whole split cut to their number (200 cuts)",
    }
    lines = [
        "",
        (
            f"raw against audited: {audited['flagged']} rows are flagged, the report of {audited['elsewhere']} belongs"
            " elsewhere"
        ),
    ]
    for key, title in names.items():
        if key not in audited:
            continue
        part = audited[key]
        for way, direction in WAYS.items():
            shown = ", ".join(
                f"{name} {with_interval(name, part['metrics'][way][name], part['intervals'][way][name])} "
                f"(chance {cell(name, part['chance'][name])})"
                for name in [*_recalls(part["metrics"][way]), "MdR"]
            )
            lines.append(f"{title}, n = {part['n']}, {direction}: {shown}")
    for key, of in audited["ceiling"].items():
        shown = "; ".join(
            f"{title} " + ", ".join(f"{name} {cell(name, of[way][name])}" for name in [*_recalls(of[way])[:1], "MnR"])
            for way, title in WAYS.items()
        )
        lines.append(f"noise ceiling, {names[key]}: {shown}")
    return lines


def _recalls(figures: dict[str, float]) -> list[str]:
    """Return R@1 and R@10, or what R@K there are where neither was asked for."""
    return [name for name in ("R@1", "R@10") if name in figures] or [name for name in figures if name.startswith("R@")]
