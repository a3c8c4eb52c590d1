"""The summary of an audit, as text for the terminal: flags, clean rows, noise ceiling."""

from typing import NamedTuple

import numpy as np

from bimcvr.contracts import Gallery
from bimcvr.curation.audit.audit import AuditResult
from bimcvr.curation.audit.flags import meaning
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.evaluation.text_table import cell
from bimcvr.metrics.noise_ceiling import noise_ceiling_metrics
from bimcvr.metrics.per_query import RECALL_AT, chance_metrics
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES, right_answers


class NoiseCeiling(NamedTuple):
    """The result of an oracle on some rows, as in `evaluate --audited`.

    Attributes:
        title: which rows.
        n: the number of rows.
        figures: the metrics by direction.
        chance: the metrics of a random ranking of the same rows.
    """

    title: str
    n: int
    figures: dict[str, dict[str, float]]
    chance: dict[str, float]


def noise_ceilings(result: AuditResult, split: str) -> list[NoiseCeiling]:
    """Return the noise ceilings of the accepted rows of a split, and of those without a flag.

    Rows whose volume cannot be read are left out: no model can be scored on them.

    Args:
        result: the result of `audit_manifest`.
        split: train, val, test or all.
    """
    audited = result.audited()
    gallery = evaluation_gallery(audited, *split_rows(audited, split), split)
    unread = {row for row, facts in result.measured.items() if isinstance(facts, RefusedVolume)}
    readable = np.asarray([row not in unread for row in gallery.rows.tolist()])
    whole = "all accepted rows" if split == "all" else f"the split {split}"
    if not readable.all():
        whole += " with a volume that can be read"
    parts = {
        whole: np.flatnonzero(readable).tolist(),
        f"{whole} without a flag": np.flatnonzero(readable & ~gallery.flagged).tolist(),
    }
    return [
        _ceiling(title, part) for title, positions in parts.items() if positions for part in [gallery.only(positions)]
    ]


def summary_text(result: AuditResult, ceilings: list[NoiseCeiling]) -> str:
    """Return the summary of an audit as text.

    Args:
        result: the result of `audit_manifest`.
        ceilings: the result of `noise_ceilings`.
    """
    manifest, rows = result.manifest, len(result.manifest)
    kind = "data"
    if manifest.is_phantom:
        kind = f"PHANTOM (synthetic data){' and patient data' if manifest.has_patients else ''}"
    lines = [
        f"{kind}: audit of {manifest.path}, {rows} rows",
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
        directions = "; ".join(
            f"{way} R@1 {cell('R@1', row['R@1'])}, MdR {cell('MdR', row['MdR'])}, MnR {cell('MnR', row['MnR'])}"
            for way, row in zip(DIRECTION_TITLES.values(), ceiling.figures.values(), strict=True)
        )
        lines.append(f"noise ceiling, {ceiling.title}, n = {ceiling.n}: {directions}")
    if result.unread():
        without = "" if ceilings else ", so there is no noise ceiling"
        lines.append(f"{result.unread()} volumes cannot be read{without}")
    return "\n".join(lines)


def _ceiling(title: str, gallery: Gallery) -> NoiseCeiling:
    size = len(gallery.rows)
    ks = [k for k in RECALL_AT if k <= size]
    chance = chance_metrics(right_answers(gallery, "report"), ks)
    return NoiseCeiling(title, size, noise_ceiling_metrics(gallery, ks), chance)


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %"
