"""A result as a table that a person reads."""

from typing import Any

WAYS = {"text_to_image": "text → image", "image_to_text": "image → text"}


def format_result(result: dict[str, Any]) -> str:
    """Lay a result out: both directions with their 95 % intervals, chance and ceiling beside, N and split above.

    Args:
        result: as `build_result` makes it, with its `about` and, where it is known, the `ceiling` by direction that an
            oracle reaches.
    """
    about, ceiling = result["about"], result.get("ceiling")
    kind = "PHANTOM (synthetic data)" if about["synthetic"] else "data"
    head = [
        f"{kind}: split {about['split']} by {about['split_strategy']}; {result['n_queries']} queries = gallery, "
        f"{result['n_patients']} patients, manifest {about['manifest_hash']}, seed {about['seed']}",
        f"encoders: {about['volume_encoder']}, {about['text_encoder']}; 95 % intervals by patient",
    ]
    if about.get("patient_overlap"):
        head.append(f"WARNING: {about['patient_overlap']} patients stand in more than one split")
    columns = [*WAYS.values(), "chance", *([f"ceiling {way}" for way in WAYS.values()] if ceiling else [])]
    lines = ["", f"{'':<6}" + "".join(f"{name:>24}" for name in columns)]
    for name in result["metrics"]["text_to_image"]:
        unit = " %" if name.startswith("R@") else ""
        cells = [_with_interval(result, way, name, unit) for way in WAYS]
        cells.append(f"{result['chance'][name]:.1f}{unit}")
        cells += [f"{ceiling[way][name]:.1f}{unit}" if name in ceiling[way] else "" for way in WAYS] if ceiling else []
        lines.append(f"{name:<6}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join([*head, *lines, *_keyword_lines(result)])


def _with_interval(result: dict[str, Any], way: str, name: str, unit: str) -> str:
    low, high = result["intervals"][way][name]
    return f"{result['metrics'][way][name]:.1f}{unit} [{low:.1f}, {high:.1f}]"


def _keyword_lines(result: dict[str, Any]) -> list[str]:
    keyword = result["metrics"]["keyword"]
    if not keyword:
        return ["", result["keyword_note"]]
    lines = [""]
    for label, figures in keyword.items():
        shown = ", ".join(f"{name} {value:.1f} %" for name, value in figures.items() if name.startswith("P@")) or "gallery too small"
        lines.append(f"keyword {label}: {shown} (chance = prevalence {figures['prevalence']:.1f} %)")
    return lines
