"""The statistics of a dataset as one HTML file for people."""

import base64
from collections.abc import Sequence
from pathlib import Path

from bimcvr.atomic_files import write_text
from bimcvr.curation.review.agreement import Agreement
from bimcvr.curation.statistics.tables import Statistics, kappa, totals
from bimcvr.data.manifest import Manifest
from bimcvr.html.render import render


def write_statistics_page(path: Path, manifest: Manifest, numbers: Statistics, agreement: Sequence[Agreement]) -> None:
    """Write a page that stands alone: no script, no request; it shows slices of volumes and no report.

    Args:
        path: the HTML file; the figures lie beside it as PNG and are taken in.
        manifest: which dataset.
        numbers: of `statistics_of`.
        agreement: of the reviewers; empty where there was no review.
    """
    pictures = {
        name: "data:image/png;base64," + base64.b64encode((path.parent / f"{name}.png").read_bytes()).decode()
        for name in ("figure2", "figure3")
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
