"""Statistics of a dataset: the paper's Table 1 with its totals, labels and their balance over the splits, words."""

import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.curation.audit.audit import geometry_columns
from bimcvr.curation.audit.facts_cache import measure_all
from bimcvr.curation.review.agreement import Agreement
from bimcvr.curation.text.lexicons import plain, words
from bimcvr.data.manifest import SPLITS, Manifest, split_list
from bimcvr.data.reading.grid import DEFAULT_RULES, GridRules
from bimcvr.data.text.stop_words import REPORT_STOP_WORDS


@dataclass(frozen=True)
class TableLine:
    """A line of Table 1.

    Attributes:
        name: the quantity.
        mean: its mean.
        median: its median.
        low: its smallest value.
        high: its largest value.
    """

    name: str
    mean: float
    median: float
    low: int
    high: int


@dataclass(frozen=True)
class LabelBalance:
    """The frequency of a label in the dataset and in each split.

    Attributes:
        label: its name.
        volumes: the number of volumes with the label.
        share: the same as a share of all volumes.
        share_by_split: its share in each split that has rows.
    """

    label: str
    volumes: int
    share: float
    share_by_split: dict[str, float]


@dataclass(frozen=True)
class Statistics:
    """The statistics of a manifest's accepted rows.

    Attributes:
        phantom: whether any rows are synthetic.
        has_patients: whether any rows are not synthetic.
        volumes: number of volumes.
        reports: number of reports; a report that several volumes share counts once.
        patients: number of patients.
        slices: number of slices.
        diseases: number of labels without `normal`.
        gigabytes: size of the source files in 10^9 bytes.
        not_accepted: number of rows that are rejected or in review.
        unread: number of accepted rows whose volume cannot be read; width, height and slices do not include them.
        table: Table 1.
        labels: the most frequent first, with `normal`.
        splits: (volumes, patients) of each split.
        words: (word, occurrences in the reports), the most frequent first, without stop words and numbers.
    """

    phantom: bool
    has_patients: bool
    volumes: int
    reports: int
    patients: int
    slices: int
    diseases: int
    gigabytes: float
    not_accepted: int
    unread: int
    table: tuple[TableLine, ...]
    labels: tuple[LabelBalance, ...]
    splits: dict[str, tuple[int, int]]
    words: tuple[tuple[str, int], ...]


def geometry_of_rows(
    manifest: Manifest, facts: Path | None = None, jobs: int = -1, rules: GridRules = DEFAULT_RULES
) -> list[tuple[int, int, int] | None]:
    """Return width, height and slices of each row's volume, or None if it cannot be read.

    They come from the manifest's geometry columns where these are filled in, and otherwise from the volumes' facts.

    Args:
        manifest: the dataset.
        facts: the folder of measurements of the volumes; `facts` beside the manifest by default.
        jobs: processes to use for volumes that were not measured before; -1 for one a core.
        rules: which grids are accepted.
    """
    measured = _measured_columns(("width", "height", "slices"), manifest, facts, jobs, rules)
    return [
        (int(float(width)), int(float(height)), int(float(slices))) if width else None
        for width, height, slices in measured
    ]


def spacing_of_rows(
    manifest: Manifest,
    facts: Path | None = None,
    jobs: int = -1,
    rules: GridRules = DEFAULT_RULES,
    unread: Collection[int] = (),
) -> list[tuple[float, float] | None]:
    """Return mm from voxel to voxel in a slice, and from slice to slice, of each row's volume; None if unreadable.

    Args:
        manifest: the dataset.
        facts: as of `geometry_of_rows`.
        jobs: as there.
        rules: as there.
        unread: rows whose volumes are known to be unreadable, and are not tried again.
    """
    measured = _measured_columns(("spacing_w", "spacing_d"), manifest, facts, jobs, rules, unread)
    return [(float(within), float(between)) if within else None for within, between in measured]


def _measured_columns(
    names: Sequence[str],
    manifest: Manifest,
    facts: Path | None,
    jobs: int,
    rules: GridRules,
    unread: Collection[int] = (),
) -> list[tuple[str, ...]]:
    """Return the cells of geometry columns, of the volumes' facts where the manifest has none."""
    cells = list(zip(*(manifest.column(name) for name in names), strict=True))
    missing = [row for row, found in enumerate(cells) if not all(found) and row not in unread]
    if missing:
        part = Manifest(manifest.table.iloc[missing].reset_index(drop=True), manifest.path, manifest.root)
        folder = facts or manifest.path.parent / "facts"
        for position, measured in measure_all(part, folder, jobs, rules).items():
            columns = geometry_columns(measured)
            cells[missing[position]] = tuple(columns[name] for name in names)
    return cells


def statistics_of(manifest: Manifest, geometry: Sequence[tuple[int, int, int] | None]) -> Statistics:
    """Return the statistics of a manifest.

    Args:
        manifest: the dataset; only accepted rows count.
        geometry: the result of `geometry_of_rows`.
    """
    rows = manifest.accepted().tolist()
    sizes = np.asarray([geometry[row] for row in rows if geometry[row]], dtype=np.int64).reshape(-1, 3)
    reports, patients = manifest.column("report"), manifest.column("patient_id")
    report_ids, study_ids = manifest.column("report_id"), manifest.column("study_id")
    # volumes of one examination share a report
    examinations = {report_ids[row] or study_ids[row]: row for row in reversed(rows)}
    counted = Counter(word for row in examinations.values() for word in _content_words(reports[row]))
    labels = _balance(manifest, rows)
    lengths = [len(words(reports[row])) for row in rows]
    columns = (
        ("Image width", sizes[:, 0]),
        ("Image height", sizes[:, 1]),
        ("Number of slices", sizes[:, 2]),
        ("Length of report (words)", np.asarray(lengths)),
    )
    return Statistics(
        phantom=manifest.is_phantom,
        has_patients=manifest.has_patients,
        volumes=len(rows),
        reports=len(examinations),
        patients=len({patients[row] for row in rows} - {""}),
        slices=int(sizes[:, 2].sum()),
        diseases=sum(label.label != "normal" for label in labels),
        gigabytes=sum(_bytes(manifest.volume_path(row)) for row in rows) / 1e9,
        not_accepted=len(manifest) - len(rows),
        unread=len(rows) - len(sizes),
        table=tuple(_table_line(name, values) for name, values in columns if len(values)),
        labels=labels,
        splits={
            split: (len(split_rows), len({patients[row] for row in split_rows} - {""}))
            for split, split_rows in _rows_of_splits(manifest, rows).items()
        },
        words=tuple(counted.most_common()),
    )


def as_markdown(numbers: Statistics, agreement: Sequence[Agreement] = ()) -> str:
    """Return the statistics as Markdown.

    Args:
        numbers: the result of `statistics_of`.
        agreement: the agreement of the reviewers, if there was a review.
    """
    synthetic = " of a **phantom** (synthetic data, no patient's)"
    kind = (
        (" of **phantoms** (synthetic data) and patients" if numbers.has_patients else synthetic)
        if numbers.phantom
        else ""
    )
    lines = [
        f"# Statistics{kind}",
        "",
        totals(numbers),
        "",
        "Table 1: image and report statistics.",
        "",
        "| Statistic | Average | Median | Range |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {line.name} | {line.mean:.1f} | {line.median:g} | {line.low} ~ {line.high} |" for line in numbers.table
    ]
    lines += ["", "## Splits", "", "| split | volumes | share | patients |", "|---|---|---|---|"]
    lines += [
        f"| {split} | {volumes} | {100 * volumes / max(numbers.volumes, 1):.1f} % | {patients} |"
        for split, (volumes, patients) in numbers.splits.items()
    ] or ["| none assigned | | | |"]
    if agreement:
        lines += [
            "",
            "## Agreement of reviewers",
            "",
            "| about | items | reviewers | same answer | Fleiss' kappa | Cohen's kappa |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.about} | {row.items} | {row.reviewers} | {100 * row.raw:.1f} % | {kappa(row.fleiss)} |"
            f" {kappa(row.cohen)} |"
            for row in agreement
        ]
    splits = list(numbers.labels[0].share_by_split) if numbers.labels else []
    lines += [
        "",
        "## Labels",
        "",
        "Share of the volumes with each label, and the largest difference between two splits.",
        "",
        f"| label | volumes | all | {''.join(f'{split} | ' for split in splits)}difference |",
        "|---|---|---|---|" + "---|" * len(splits),
    ]
    for label in numbers.labels:
        shares = list(label.share_by_split.values())
        cells = "".join(f"{100 * share:.1f} % | " for share in shares)
        difference = f"{100 * (max(shares) - min(shares)):.1f}" if shares else ""
        lines.append(f"| {label.label} | {label.volumes} | {100 * label.share:.1f} % | {cells}{difference} |")
    lines += [
        "",
        "## Words",
        "",
        "The most frequent words of the reports, without stop words and numbers: "
        + ", ".join(f"{word} {count}" for word, count in numbers.words[:40])
        + ".",
    ]
    return "\n".join(lines) + "\n"


def as_latex(numbers: Statistics) -> str:
    """Return Table 1 as a LaTeX table in the format of the paper (package booktabs).

    Args:
        numbers: the result of `statistics_of`.
    """
    kind = (
        (" Phantoms (synthetic data) and patients." if numbers.has_patients else " Phantom: synthetic data.")
        if numbers.phantom
        else ""
    )
    rows = "\n".join(
        f"{line.name} & {line.mean:.1f} & {line.median:g} & {line.low} $\\sim$ {line.high} \\\\"
        for line in numbers.table
    )
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{Summary of image and report statistics.{kind} {totals(numbers)}}}\n"
        "\\begin{tabular}{lrrr}\n\\toprule\nStatistic & Average & Median & Range \\\\\n\\midrule\n"
        f"{rows}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    ).replace(" %", r"\,\%")


def totals(numbers: Statistics) -> str:
    """Return the totals in one to three sentences.

    Args:
        numbers: the result of `statistics_of`.
    """
    patients = f"{numbers.patients:,} patients" if numbers.patients else "patients unknown"
    text = (
        f"{numbers.volumes:,} volumes with {numbers.reports:,} reports, {patients}, {numbers.slices:,} slices, "
        f"{numbers.gigabytes:,.2f} GB, {numbers.diseases} diseases."
    )
    if numbers.not_accepted:
        text += f" {numbers.not_accepted:,} further rows are rejected or in review."
    if numbers.unread:
        text += f" {numbers.unread:,} volumes cannot be read and are not included in width, height and slices."
    return text


def kappa(value: float | None) -> str:
    """Return a kappa as text; a dash if it is undefined."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _table_line(name: str, values: np.ndarray) -> TableLine:
    return TableLine(name, float(values.mean()), float(np.median(values)), int(values.min()), int(values.max()))


def _balance(manifest: Manifest, rows: list[int]) -> tuple[LabelBalance, ...]:
    labels = [split_list(cell) for cell in manifest.column("labels")]
    counts = Counter(label for row in rows for label in labels[row])
    splits = _rows_of_splits(manifest, rows)
    return tuple(
        LabelBalance(
            label,
            count,
            count / len(rows),
            {
                split: sum(label in labels[row] for row in split_rows) / len(split_rows)
                for split, split_rows in splits.items()
            },
        )
        for label, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _rows_of_splits(manifest: Manifest, rows: list[int]) -> dict[str, list[int]]:
    column = manifest.column("split")
    rows_of = {split: [row for row in rows if column[row] == split] for split in SPLITS}
    return {split: split_rows for split, split_rows in rows_of.items() if split_rows}


def _content_words(report: str) -> list[str]:
    return [
        word
        for word in words(report)
        if len(word) > 1 and plain(word) not in REPORT_STOP_WORDS and not any(map(str.isdigit, word))
    ]


def _bytes(path: Path) -> int:
    with contextlib.suppress(PermissionError):
        if path.is_dir():
            return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
        return path.stat().st_size if path.is_file() else 0
    return 0
