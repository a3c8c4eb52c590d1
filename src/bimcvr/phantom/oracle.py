"""The ceiling of a phantom cohort: an oracle that knows the findings, but only as reported."""

import math
from collections.abc import Sequence

import numpy as np

from bimcvr.data.manifest import Manifest, report_groups
from bimcvr.errors import UserError
from bimcvr.phantom.reports.findings import PlantedFinding, from_json

CUTS = (1, 5, 10)
Statement = dict[tuple[str, str], int | str | None]


def phantom_ceiling(manifest: Manifest, rows: Sequence[int] | np.ndarray) -> dict[str, dict[str, float]]:
    """Return `report_ceiling` of a phantom's manifest, and nothing for any other, whose ceiling is not known.

    Args:
        manifest: any manifest.
        rows: the gallery, as positions in the manifest.
    """
    return report_ceiling(manifest, rows) if "planted" in manifest.table else {}


def report_ceiling(manifest: Manifest, rows: Sequence[int] | np.ndarray) -> dict[str, dict[str, float]]:
    """Rank volumes by what each report states, and reports by what each volume shows.

    A report and a volume either agree or not: they agree if the report states just the volume's findings,
    each at its site, and every size that it states is true. All that agree are tied at the top, so a report
    that leaves out sizes is tied with more volumes. Right answers share a report.

    Args:
        manifest: a phantom's manifest, with the columns `facts` (as the report states them) and `planted`.
        rows: the gallery, as positions in the manifest.

    Returns:
        `text_to_image` and `image_to_text`, each with R@1, R@5, R@10 (percent) and MdR, in expectation over
        ties.

    Raises:
        UserError: the manifest is no phantom's.
    """
    for name in ("facts", "planted"):
        if name not in manifest.table:
            raise UserError(
                f"{manifest.path} has no column '{name}': a ceiling is known only for a "
                "phantom's manifest, as `python -m bimcvr phantom DIR` writes it."
            )
    facts, planted = manifest.column("facts"), manifest.column("planted")
    told = [_told(from_json(facts[row])) for row in rows]
    true = [_told(from_json(planted[row])) for row in rows]
    agree = _agreement(told, true)
    group = report_groups(manifest)[np.asarray(rows, dtype=int)]
    right = group[:, None] == group[None, :]
    return {"text_to_image": _figures(agree, right), "image_to_text": _figures(agree.T, right)}


def expected_hit(above: int, wrong: int, right: int, cut: int) -> float:
    """Return the chance that a right item is among the first `cut` when ties are broken at random.

    Args:
        above: wrong items above the best right score.
        wrong: wrong items tied with it.
        right: right items tied at it.
        cut: how many items are looked at.
    """
    places = cut - above
    if places <= 0:
        return 0.0
    if places > wrong:
        return 1.0
    return 1 - math.comb(wrong, places) / math.comb(wrong + right, places)


def _told(findings: tuple[PlantedFinding, ...]) -> Statement:
    return {(finding.finding, finding.site): finding.size for finding in findings}


def _agreement(told: list[Statement], true: list[Statement]) -> np.ndarray:
    """Return whether report i (row) agrees with volume j (column), bool (N, N)."""
    alike: dict[frozenset[tuple[str, str]], list[int]] = {}
    for column, volume in enumerate(true):
        alike.setdefault(frozenset(volume), []).append(column)
    agree = np.zeros((len(told), len(true)), bool)
    for row, report in enumerate(told):
        for column in alike.get(frozenset(report), []):
            agree[row, column] = all(size in (None, true[column][key]) for key, size in report.items())
    return agree


def _figures(agree: np.ndarray, right: np.ndarray) -> dict[str, float]:
    hits = {cut: 0.0 for cut in CUTS}
    ranks = []
    for scores, answers in zip(agree, right, strict=True):
        best = scores[answers].max()
        wrong = scores[~answers]
        above, tied = int((wrong > best).sum()), int((wrong == best).sum())
        equal = int((scores[answers] == best).sum())
        ranks.append(above + (tied + equal + 1) / (equal + 1))
        for cut in CUTS:
            hits[cut] += expected_hit(above, tied, equal, cut)
    figures = {f"R@{cut}": 100 * total / len(agree) for cut, total in hits.items()}
    return {**figures, "MdR": float(np.median(ranks))}
