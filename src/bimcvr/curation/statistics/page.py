"""The statistics of a dataset as an HTML page."""

import base64
from collections.abc import Sequence
from pathlib import Path

from bimcvr.atomic_files import write_text
from bimcvr.curation.review.agreement import Agreement
from bimcvr.curation.statistics.tables import Statistics, kappa, totals
from bimcvr.data.manifest import Manifest
from bimcvr.html.render import render


def write_statistics_page(path: Path, manifest: Manifest, numbers: Statistics, agreement: Sequence[Agreement]) -> None:
    """Write a self-contained page, without scripts and requests; it shows slices of volumes but no reports.

    Args:
        path: the HTML file; the figures beside it (PNG) are embedded.
        manifest: the dataset.
        numbers: the result of `statistics_of`.
        agreement: the agreement of the reviewers; empty without a review.
    """
    pictures = {
        name: "data:image/png;base64," + base64.b64encode((path.parent / f"{name}.png").read_bytes()).decode()
        for name in ("figure2", "figure3", "geometry")
    }
    write_text(
        path,
        render(
            "curation/statistics/page.html",
            synthetic=manifest.is_phantom,
            has_patients=manifest.has_patients,
            name=manifest.path.name,
            digest=manifest.digest,
            numbers=numbers,
            totals=totals(numbers),
            agreement=agreement,
            kappa=kappa,
            pictures=pictures,
        ),
    )
