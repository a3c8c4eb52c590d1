"""The ceiling of a phantom cohort: the metrics of an oracle that knows the findings as the reports state them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bimcvr.data.manifest import Manifest, report_groups
from bimcvr.errors import UserError
from bimcvr.metrics.per_query import KS, median
from bimcvr.metrics.ranking.ranks import Ranks, rank_scores
from bimcvr.phantom.reports.findings import PlantedFinding, from_json

SizeByFinding = dict[tuple[str, str], int | str | None]
"""The size of each finding by its name and site; None where a report states none."""


def phantom_ceiling(manifest: Manifest, rows: Sequence[int] | np.ndarray) -> dict[str, dict[str, float]]:
    """Return `report_ceiling`, or nothing where the manifest holds no phantoms.

    Args:
        manifest: Of the scored rows.
        rows: The gallery, as positions in the manifest.
    """
    return report_ceiling(manifest, rows) if "planted" in manifest.table else {}


def report_ceiling(manifest: Manifest, rows: Sequence[int] | np.ndarray) -> dict[str, dict[str, float]]:
    """Rank volumes by what each report states, and reports by what each volume shows.

    A report and a volume agree if the report states exactly the volume's findings, each at its site, and every size
    that it states is true. All that agree are tied at the top, so a report that leaves out sizes is tied with more
    volumes. Right answers share a report.

    Args:
        manifest: A phantom cohort's manifest, with the columns `facts` (as the report states them) and `planted`.
        rows: The gallery, as positions in the manifest.

    Returns:
        `text_to_image` and `image_to_text`, each with R@1, R@5, R@10 (percent) and MdR, in expectation over ties.

    Raises:
        UserError: The manifest is not a phantom cohort's.
    """
    for name in ("facts", "planted"):
        if name not in manifest.table:
            raise UserError(
                f"{manifest.path} has no column '{name}': a ceiling is known only for a phantom cohort's manifest, as"
                " `python -m bimcvr phantom DIR` writes it."
            )
    facts, planted = manifest.column("facts"), manifest.column("planted")
    stated = [_sizes(from_json(facts[row])) for row in rows]
    true = [_sizes(from_json(planted[row])) for row in rows]
    agree = _agreement(stated, true)
    group = torch.from_numpy(report_groups(manifest)[np.asarray(rows, dtype=int)])
    return {
        "text_to_image": _ceiling_metrics(rank_scores(agree, group, group)),
        "image_to_text": _ceiling_metrics(rank_scores(agree.T, group, group)),
    }


def _sizes(findings: tuple[PlantedFinding, ...]) -> SizeByFinding:
    return {(finding.finding, finding.site): finding.size for finding in findings}


def _agreement(stated: list[SizeByFinding], true: list[SizeByFinding]) -> Tensor:
    """Return 1 where report i (row) agrees with volume j (column), else 0: float64 (N, N)."""
    columns_of: dict[frozenset[tuple[str, str]], list[int]] = {}
    for column, volume in enumerate(true):
        columns_of.setdefault(frozenset(volume), []).append(column)
    agree = torch.zeros(len(stated), len(true), dtype=torch.float64)
    for row, report in enumerate(stated):
        for column in columns_of.get(frozenset(report), []):
            agree[row, column] = all(size in (None, true[column][finding]) for finding, size in report.items())
    return agree


def _ceiling_metrics(ranks: Ranks) -> dict[str, float]:
    # a plain sum: torch's own order of summation would change the last digit of published figures
    recalls = {f"R@{k}": 100 * sum(ranks.hit_probability(k).tolist()) / len(ranks.above) for k in KS}
    return {**recalls, "MdR": median(ranks.expected)}
