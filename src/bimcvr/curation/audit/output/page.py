"""An audit as one HTML file for people: counts, what they mean, examples, the funnel, the noise ceiling, the splits."""

import base64
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from bimcvr.atomic_files import replacing, write_text
from bimcvr.curation.audit.audit import AuditResult
from bimcvr.curation.audit.facts_cache import facts_path
from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.audit.flags import Meaning, meaning
from bimcvr.curation.audit.output.highlight import marked, offending_words
from bimcvr.curation.audit.output.summary import Ceiling
from bimcvr.curation.audit.output.thumbnail import thumbnail_jpeg
from bimcvr.data.manifest import SPLITS, Manifest, split_list
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError
from bimcvr.evaluation.text_table import WAYS, cell
from bimcvr.html.render import render
from bimcvr.provenance import git_commit, versions

MOST_EXAMPLES = 3
"""How many rows of each flag are shown."""


class Example(NamedTuple):
    """A row that bears a flag.

    Attributes:
        study_id: the row.
        evidence: what was seen.
        texts: what to call a text, and the text with the offending words marked.
        picture: a data URI, or empty.
        refused: why there is no picture.
    """

    study_id: str
    evidence: str
    texts: list[tuple[str, Markup]]
    picture: str
    refused: str


class FlagCount(NamedTuple):
    """A flag with what it means, how many rows bear it, and some of them."""

    name: str
    meaning: Meaning
    rows: int
    examples: list[Example]


class SplitCount(NamedTuple):
    """A split: its rows, its patients, how many of its rows have a finding.

    How many of its patients stand in another.
    """

    name: str
    rows: int
    patients: int
    flagged: int
    shared: int


def write_audit_page(path: Path, result: AuditResult, ceilings: list[Ceiling], folder: Path) -> None:
    """Write a page that stands alone: no script, no request; it shows reports and slices of volumes.

    Args:
        path: the HTML file.
        result: of `audit_manifest`.
        ceilings: of `noise_ceilings`.
        folder: where the facts of volumes are kept; their pictures are kept beside them.
    """
    from rich.progress import track

    manifest = result.manifest
    examples = result.examples(MOST_EXAMPLES)
    rows = sorted({row for chosen in examples.values() for row, _ in chosen})
    pictures = {
        row: _picture(result, row, folder) for row in track(rows, description="pictures for the page", disable=not rows)
    }
    counts = [
        FlagCount(
            flag,
            meaning(flag),
            count,
            [_example(manifest, row, finding, pictures[row]) for row, finding in examples[flag]],
        )
        for flag, count in result.counts().items()
    ]
    write_text(
        path,
        render(
            "curation/audit/output/page.html",
            synthetic=manifest.is_phantom,
            has_patients=manifest.has_patients,
            name=manifest.path.name,
            total=len(manifest),
            clean=result.clean(),
            facts=_facts(result),
            counts=counts,
            funnel=result.funnel(),
            ceilings=ceilings,
            ways=WAYS,
            shown=cell,
            splits=split_counts(result),
            patients_known=any(manifest.column("patient_id")),
            foreign=_foreign(result),
            unread=result.unread(),
        ),
    )


def split_counts(result: AuditResult) -> list[SplitCount]:
    """Count the rows of each split that the manifest's `split` column names; empty where it names none."""
    splits, patients, flags = result.manifest.column("split"), result.manifest.column("patient_id"), result.flags()
    of = {split: [row for row, name in enumerate(splits) if name == split] for split in SPLITS}
    people = {split: {patients[row] for row in rows} - {""} for split, rows in of.items()}
    return [
        SplitCount(
            split,
            len(rows),
            len(people[split]),
            sum(bool(flags[row]) for row in rows),
            len(people[split] & set().union(*(people[other] for other in SPLITS if other != split))),
        )
        for split, rows in of.items()
        if rows
    ]


def _facts(result: AuditResult) -> dict[str, str]:
    manifest = result.manifest
    patients = len(set(manifest.column("patient_id")) - {""})
    aside = len(manifest) - len(manifest.accepted())
    return {
        "Manifest": f"{manifest.path}, hash {manifest.digest}",
        "Rows": f"{len(manifest)}" + (f", of which {aside} are set aside (status rejected or review)" if aside else ""),
        "Volumes read": (
            f"{len(manifest) - result.unread()}" + (f"; {result.unread()} cannot be read" if result.unread() else "")
        ),
        "Patients": str(patients) if patients else "unknown: the manifest has no patient_id",
        "Version": f"bimcvr {versions().get('bimcvr', '')}, commit {git_commit()}",
    }


def _foreign(result: AuditResult) -> dict[str, int]:
    """Return how many rows bear each flag that is not this audit's and is kept."""
    counts: dict[str, int] = {}
    for flags, own in zip(result.flagged_table()["flags"], result.flags(), strict=True):
        for flag in sorted(split_list(flags) - set(own)):
            counts[flag] = counts.get(flag, 0) + 1
    return counts


def _example(manifest: Manifest, row: int, finding: Finding, picture: tuple[str, str]) -> Example:
    report, original = manifest.column("report")[row], manifest.column("report_original")[row]
    words = offending_words(finding, report)
    texts = [("Report", marked(report, words))]
    # an unfit translation is judged by what it was made from
    if original and original != report and words and "<mark>" not in texts[0][1]:
        texts.append(("The text that it was translated from", marked(original, words)))
    return Example(finding.study_id, finding.evidence, texts, *picture)


def _picture(result: AuditResult, row: int, folder: Path) -> tuple[str, str]:
    """Return a volume's slices as a data URI, or why there are none; they are kept, as the facts are."""
    measured = result.measured[row]
    if isinstance(measured, RefusedVolume):
        return "", "the volume cannot be read"
    source = result.manifest.volume_path(row)
    entry = facts_path(source, result.manifest.column("sha256")[row], folder)
    kept = entry.with_suffix(".jpg") if entry else None
    try:
        if kept is None or not kept.exists():
            jpeg = thumbnail_jpeg(source)
            if kept is not None:
                with replacing(kept) as temporary:
                    temporary.write_bytes(jpeg)
        else:
            jpeg = kept.read_bytes()
    except (UserError, OSError) as error:
        # no reason to have no page
        return "", f"the volume could not be read again ({type(error).__name__})"
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(), ""
