"""The Markdown table of `make gpu`."""

from typing import Any

_COLUMNS = {
    "studies_a_second": ("studies/s", "{:.2f}"),
    "step_ms": ("step, ms", "{:.1f}"),
    "wait_share": ("wait for batches", "{:.1%}"),
    "views_ms": ("transfer and views, ms", "{:.1f}"),
    "tflops": ("10^12 operations/s", "{:.3g}"),
    "measured": ("of the measured peak", "{:.1%}"),
    "stated": ("of the stated peak", "{:.1%}"),
    "peak_gib": ("memory, GiB", "{:.1f}"),
    "first_step_s": ("first step, s", "{:.1f}"),
    "batch": ("batch", "{:d}"),
    "steps": ("steps", "{:d}"),
    "seconds": ("part, s", "{:.0f}"),
}


def as_markdown(content: dict[str, Any]) -> str:
    """Return what gpu.json holds, as tables.

    Args:
        content: of gpu.json.
    """
    parts, names = content["parts"], content["names"]
    machine = parts.get("machine", {}).get("facts", {})
    where = "toy size on the CPU: no speed of anything" if content["about"]["toy"] else machine.get("device", "?")
    lines = [
        f"# GPU report: {where}",
        "",
        f"{machine.get('device', '?')}, {machine.get('cores', '?')} cores, grid {machine.get('grid', '?')}, torch"
        f" {machine.get('versions', {}).get('torch', '?')}, commit {content['about']['commit']}. Random weights,"
        " synthetic volumes, two views a study, bf16 where nothing else is said.",
        "",
        "## Correctness",
        "",
        "| part | held | figures |",
        "|---|---|---|",
    ]
    correct = [name for name in names if "held" in parts.get(name, {}).get("facts", {})]
    for name in correct:
        facts = dict(parts[name]["facts"])
        held = "yes" if facts.pop("held") else "**NO**"
        lines.append(f"| {name} | {held} | {'; '.join(f'{key} {_shown(value)}' for key, value in facts.items())} |")
    timed = {name: part["facts"] for name in names if "step_ms" in (part := parts.get(name, {})).get("facts", {})}
    peak = parts.get("bf16 matrix product", {}).get("facts", {})
    lines += ["", "## Steps", "", f"| | {' | '.join(title for title, _ in _COLUMNS.values())} |", "|---" * 13 + "|"]
    for name, facts in timed.items():
        shares = {"measured": peak.get("tflops"), "stated": peak.get("stated_tflops")}
        row = {**facts, "seconds": parts[name]["seconds"]}
        row |= {key: facts["tflops"] / most for key, most in shares.items() if most}
        cells = [form.format(row[key]) if key in row else "" for key, (_, form) in _COLUMNS.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    others = [
        name for name in names if name in parts and name not in correct and name not in timed and name != "machine"
    ]
    lines += ["", "## Others", "", "| part | figures |", "|---|---|"]
    for name in others:
        found = parts[name].get("facts", {})
        told = "; ".join(f"{key} {_shown(value)}" for key, value in found.items()) or f"**{parts[name]['state']}**"
        lines.append(f"| {name} | {told}{' ' + parts[name].get('reason', '') if not found else ''} |")
    left = [name for name in names if name not in parts]
    if left:
        lines += ["", f"Not run, for lack of time (the same command goes on): {', '.join(left)}."]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
