"""What an audit comes to: counts, clean share, noise ceiling; as text for the terminal, and for the page."""

from typing import NamedTuple

import numpy as np

from bimcvr.contracts import Gallery
from bimcvr.curation.audit.audit import AuditResult
from bimcvr.curation.audit.flags import meaning
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import Manifest
from bimcvr.evaluation.text_table import WAYS, cell
from bimcvr.metrics.noise_ceiling import ceiling_figures
from bimcvr.metrics.per_query import RECALL_AT, chance
from bimcvr.metrics.ranks import right_answers


class Ceiling(NamedTuple):
    """What an oracle reaches on some rows, as `evaluate --audited` states it.

    Attributes:
        title: which rows.
        n: how many.
        figures: by direction.
        chance: of the same rows.
    """

    title: str
    n: int
    figures: dict[str, dict[str, float]]
    chance: dict[str, float]


def noise_ceilings(audited: Manifest, split: str) -> list[Ceiling]:
    """Return the noise ceiling of the accepted rows of a split, and of those of them that bear no flag.

    Args:
        audited: the manifest with the audit's flags.
        split: train, val, test or all.
    """
    gallery = evaluation_gallery(audited, *split_rows(audited, split), split)
    whole = "all accepted rows" if split == "all" else f"the split {split}"
    parts = {
        whole: list(range(len(gallery.rows))),
        f"{whole} without a flag": np.flatnonzero(~gallery.flagged).tolist(),
    }
    return [_ceiling(title, part) for title, places in parts.items() if places for part in [gallery.only(places)]]


def summary_text(result: AuditResult, ceilings: list[Ceiling]) -> str:
    """Lay an audit out for the terminal."""
    rows = len(result.manifest)
    of = result.manifest
    kind = f"PHANTOM (synthetic data){' and patient data' if of.has_patients else ''}" if of.is_phantom else "data"
    lines = [
        f"{kind}: audit of {result.manifest.path}, {rows} rows",
        "",
        f"{'flag':<24}{'rows':>7}{'share':>9}  against",
    ]
    lines += [
        f"{flag:<24}{count:>7}{_percent(count, rows):>9}  {meaning(flag).side}"
        for flag, count in result.counts().items()
    ]
    clean = result.clean()
    lines += ["", f"without a flag: {clean} of {rows} rows ({_percent(clean, rows)})"]
    for ceiling in ceilings:
        shown = "; ".join(
            f"{way} R@1 {cell('R@1', of['R@1'])}, MdR {cell('MdR', of['MdR'])}, MnR {cell('MnR', of['MnR'])}"
            for way, of in zip(WAYS.values(), ceiling.figures.values(), strict=True)
        )
        lines.append(f"noise ceiling, {ceiling.title}, n = {ceiling.n}: {shown}")
    if result.unread():
        lines.append(f"{result.unread()} volumes cannot be read")
    return "\n".join(lines)


def _ceiling(title: str, gallery: Gallery) -> Ceiling:
    size = len(gallery.rows)
    ks = [k for k in RECALL_AT if k <= size]
    return Ceiling(title, size, ceiling_figures(gallery, ks), chance(right_answers(gallery, "report"), ks))


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"
