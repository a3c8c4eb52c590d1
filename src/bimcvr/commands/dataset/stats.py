"""The command `stats`: statistics and figures of a dataset, for a paper and as an HTML page."""

from pathlib import Path
from typing import Literal

from bimcvr.commands.stdout import say


def stats(
    manifest: Path,
    out: Path | None = None,
    root: Path | None = None,
    review: Path | None = None,
    jobs: int = -1,
    facts: Path | None = None,
    nifti_form: Literal["auto", "sform", "qform"] = "auto",
    max_voxels: int = 2**31,
) -> int:
    """Describe a dataset: Table 1, sample images, words, labels and their balance, splits, agreement of reviewers.

    Writes `statistics.html` (a page with everything, including slices of volumes), `statistics.md`, `table1.tex`,
    `figure2.png` (samples), `figure3.png` (words), `geometry.png` (slices and spacing) and, if there are labels,
    `labels.png`. Rejected rows and rows in review do not count.

    Args:
        manifest: the manifest, a CSV file.
        out: where the result is written: a folder, `statistics` beside the manifest by default.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default.
        review: the review queue, a CSV file that reviewers fill in; for their agreement.
        jobs: parallel processes; -1 for one per CPU core. They measure the volumes that were not measured before.
        facts: the folder of measurements of the volumes; `facts` beside the manifest by default.
        nifti_form: what decides how a NIfTI file's voxels lie: auto takes the sform and refuses a file whose sform and
            qform disagree; sform or qform takes that one.
        max_voxels: larger volumes are refused.
    """
    from bimcvr.atomic_files import require_writable, write_text
    from bimcvr.curation.review.agreement import agreement
    from bimcvr.curation.review.queue import read_reviews
    from bimcvr.curation.statistics.figures import draw_geometry, draw_labels, draw_samples, draw_words
    from bimcvr.curation.statistics.page import write_statistics_page
    from bimcvr.curation.statistics.tables import (
        as_latex,
        as_markdown,
        geometry_of_rows,
        spacing_of_rows,
        statistics_of,
    )
    from bimcvr.data.manifest import read_manifest
    from bimcvr.data.reading.grid import GridRules
    from bimcvr.errors import UserError

    table = read_manifest(manifest, root)
    if review is not None and not review.is_file():
        raise UserError(
            f"There is no review queue at {review}. Give the CSV file with the reviewers' answers, or leave out"
            " --review."
        )
    agreed = agreement(read_reviews(review)) if review is not None else []
    rules = GridRules(nifti_form, max_voxels)
    folder = out or table.path.parent / "statistics"
    require_writable(folder, "--out")
    geometry = geometry_of_rows(table, facts, jobs, rules)
    numbers = statistics_of(table, geometry)
    unread = {row for row, size in enumerate(geometry) if size is None}
    draw_samples(table, folder / "figure2.png", unread, rules=rules)
    draw_words(numbers, folder / "figure3.png")
    accepted, spacing = table.accepted().tolist(), spacing_of_rows(table, facts, jobs, rules, unread)
    draw_geometry(
        numbers, [geometry[row] for row in accepted], [spacing[row] for row in accepted], folder / "geometry.png"
    )
    if numbers.labels:
        draw_labels(numbers, folder / "labels.png")
    write_text(folder / "table1.tex", as_latex(numbers))
    text = as_markdown(numbers, agreed)
    write_text(folder / "statistics.md", text)
    write_statistics_page(folder / "statistics.html", table, numbers, agreed)
    say(text.split("\n## Labels")[0])
    say(
        f"{folder}: statistics.html, statistics.md, table1.tex, figure2.png,"
        f" figure3.png, geometry.png{', labels.png' * bool(numbers.labels)}"
    )
    return 0
