"""A dataset in numbers: the paper's Table 1 with its totals, labels and their balance over the splits, words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimcvr.curation.audit.audit import geometry_columns
from bimcvr.curation.audit.facts_cache import measure_all
from bimcvr.curation.review.agreement import Agreement
from bimcvr.curation.text.lexicons import plain, words
from bimcvr.data.manifest import SPLITS, Manifest, split_list
from bimcvr.data.text.stop_words import REPORT_STOP_WORDS


@dataclass(frozen=True)
class Spread:
    """One line of Table 1."""

    name: str
    mean: float
    median: float
    low: int
    high: int


@dataclass(frozen=True)
class Balance:
    """One label: in how many volumes of the dataset, and in what share of each split.

    Attributes:
        label: its name.
        volumes: how many have it.
        share: the same as a share of all.
        of_split: its share in each split that has rows.
    """

    label: str
    volumes: int
    share: float
    of_split: dict[str, float]


@dataclass(frozen=True)
class Statistics:
    """The numbers of a manifest's accepted rows.

    Attributes:
        phantom: whether any of it is synthetic.
        has_patients: whether any of it is not.
        volumes, reports, patients, slices, diseases: totals; a report that several volumes share counts once.
        gigabytes: size of the source files, 10^9 bytes.
        set_aside: rows that are rejected or in review.
        unread: accepted rows whose volume cannot be read; they are left out of width, height and slices.
        table: Table 1.
        labels: most frequent first; `normal` is among them and is no disease.
        splits: volumes and patients of each split.
        words: how often each word occurs, most frequent first, over reports, without stop words and numbers.
    """

    phantom: bool
    has_patients: bool
    volumes: int
    reports: int
    patients: int
    slices: int
    diseases: int
    gigabytes: float
    set_aside: int
    unread: int
    table: tuple[Spread, ...]
    labels: tuple[Balance, ...]
    splits: dict[str, tuple[int, int]]
    words: tuple[tuple[str, int], ...]


def geometry_of_rows(manifest: Manifest, jobs: int = -1) -> list[tuple[int, int, int] | None]:
    """Return width, height and slices of each row's volume, None where it cannot be read.

    They come from the manifest's geometry columns where these are filled in, else from the volumes' facts.
    """
    names = ("width", "height", "slices")
    given = list(zip(*(manifest.column(name) for name in names), strict=True))
    lacking = [row for row, cells in enumerate(given) if not all(cells)]
    if lacking:
        part = Manifest(manifest.table.iloc[lacking].reset_index(drop=True), manifest.path, manifest.root)
        for place, facts in measure_all(part, manifest.path.parent / "facts", jobs).items():
            columns = geometry_columns(facts)
            given[lacking[place]] = (columns["width"], columns["height"], columns["slices"])
    return [
        (int(float(width)), int(float(height)), int(float(slices))) if width else None
        for width, height, slices in given
    ]


def statistics_of(manifest: Manifest, geometry: Sequence[tuple[int, int, int] | None]) -> Statistics:
    """Count.

    Args:
        manifest: the dataset; only accepted rows count.
        geometry: of each row of the manifest, as `geometry_of_rows` returns it.
    """
    rows = manifest.accepted().tolist()
    sizes = np.asarray([geometry[row] for row in rows if geometry[row]], dtype=np.int64).reshape(-1, 3)
    reports, patients = manifest.column("report"), manifest.column("patient_id")
    # volumes of one examination share a report
    examinations = {
        manifest.column("report_id")[row] or manifest.column("study_id")[row]: row for row in reversed(rows)
    }
    counted = Counter(word for row in examinations.values() for word in _telling_words(reports[row]))
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
        set_aside=len(manifest) - len(rows),
        unread=len(rows) - len(sizes),
        table=tuple(_spread(name, values) for name, values in columns if len(values)),
        labels=labels,
        splits={
            split: (len(of), len({patients[row] for row in of} - {""}))
            for split, of in _rows_of_splits(manifest, rows).items()
        },
        words=tuple(counted.most_common()),
    )


def as_markdown(numbers: Statistics, agreement: Sequence[Agreement] = ()) -> str:
    """Write everything as Markdown.

    Args:
        numbers: from `statistics_of`.
        agreement: of the reviewers, where there was a review.
    """
    pure = " of a **phantom** (synthetic data, no patient's)"
    kind = (
        (" of **phantoms** (synthetic data) and patients" if numbers.has_patients else pure) if numbers.phantom else ""
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
            f"| {one.about} | {one.items} | {one.reviewers} | {100 * one.raw:.1f} % | {kappa(one.fleiss)} |"
            f" {kappa(one.cohen)} |"
            for one in agreement
        ]
    splits = list(numbers.labels[0].of_split) if numbers.labels else []
    lines += [
        "",
        "## Labels",
        "",
        "Share of the volumes that bear each label, and the largest difference between two splits.",
        "",
        f"| label | volumes | all | {''.join(f'{split} | ' for split in splits)}difference |",
        "|---|---|---|---|" + "---|" * len(splits),
    ]
    for label in numbers.labels:
        shares = list(label.of_split.values())
        cells = "".join(f"{100 * share:.1f} % | " for share in shares)
        apart = f"{100 * (max(shares) - min(shares)):.1f}" if shares else ""
        lines.append(f"| {label.label} | {label.volumes} | {100 * label.share:.1f} % | {cells}{apart} |")
    lines += [
        "",
        "## Words",
        "",
        "The most frequent words of the reports, stop words and numbers aside: "
        + ", ".join(f"{word} {count}" for word, count in numbers.words[:40])
        + ".",
    ]
    return "\n".join(lines) + "\n"


def as_latex(numbers: Statistics) -> str:
    """Write Table 1 in the paper's form as a LaTeX table (package booktabs)."""
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
    """Say the totals in a sentence or two."""
    patients = f"{numbers.patients:,} patients" if numbers.patients else "patients unknown"
    text = (
        f"{numbers.volumes:,} volumes with {numbers.reports:,} reports, {patients}, {numbers.slices:,} slices, "
        f"{numbers.gigabytes:,.2f} GB, {numbers.diseases} diseases."
    )
    if numbers.set_aside:
        text += f" {numbers.set_aside:,} further rows are set aside."
    if numbers.unread:
        text += f" {numbers.unread:,} volumes cannot be read and are not in width, height and slices."
    return text


def kappa(value: float | None) -> str:
    """Write a kappa; a dash where it is undefined."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _spread(name: str, values: np.ndarray) -> Spread:
    return Spread(name, float(values.mean()), float(np.median(values)), int(values.min()), int(values.max()))


def _balance(manifest: Manifest, rows: list[int]) -> tuple[Balance, ...]:
    labels = [split_list(cell) for cell in manifest.column("labels")]
    counts = Counter(label for row in rows for label in labels[row])
    splits = _rows_of_splits(manifest, rows)
    return tuple(
        Balance(
            label,
            count,
            count / len(rows),
            {split: sum(label in labels[row] for row in of) / len(of) for split, of in splits.items()},
        )
        for label, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _rows_of_splits(manifest: Manifest, rows: list[int]) -> dict[str, list[int]]:
    column = manifest.column("split")
    found = {split: [row for row in rows if column[row] == split] for split in SPLITS}
    return {split: of for split, of in found.items() if of}


def _telling_words(report: str) -> list[str]:
    return [
        word
        for word in words(report)
        if len(word) > 1 and plain(word) not in REPORT_STOP_WORDS and not any(map(str.isdigit, word))
    ]


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size if path.is_file() else 0
