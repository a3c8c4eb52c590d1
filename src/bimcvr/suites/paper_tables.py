"""Tables 1 to 4 of the paper, filled with the results of a suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from bimcvr.contracts import Gallery
from bimcvr.curation.statistics.tables import Statistics, totals
from bimcvr.evaluation.result import Resampling
from bimcvr.metrics.prompts import PAPER_KEYWORDS
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES, DIRECTIONS
from bimcvr.suites.differences import Difference, best_and_significant, differences
from bimcvr.suites.run_process import DONE, NOT_RUN
from bimcvr.suites.scores import LARGE, RowResult
from bimcvr.suites.tables.published import paper_table
from bimcvr.suites.tables.table import Cell, Column, Source, Table, TableRow

RETRIEVAL = ("R@1", "R@5", "R@10", "MdR", "MnR")
KEYWORD = ("P@20", "P@50", "P@100")
ENCODERS = ("image encoder", "text encoder")
COST = ("seeds", "trials", "pairs seen", "min a run")
LABELS = "label column"
LABELS_NOTE = (
    f"✓ in “{LABELS}”: trained with the label column of the training split as well (the objective's keyword loss), by"
    " which Table 3 is scored; the other rows saw reports and volumes alone."
)
BOLD = (
    "Bold: best, and above the second at p < 0.05 (two-sided, Holm over all pairs of rows in a column). Brackets are 95"
    " % intervals of the mean over seeds, by a bootstrap over patients. p and intervals are over patients, of the"
    " models that were trained; how much another training would vary is in the ± alone, the standard deviation over"
    " seeds."
)
MEDIAN = (
    "MdR over several seeds is the median of the queries' ranks, each averaged over the seeds, and not the mean of the"
    " seeds' medians."
)
ZERO_DRAWS = ("draws with second 0", "draws with first 0")
RATIOS = (
    "Ratio: the first method's R@K over the second's; inverse ratio: the second's over the first's; each of means over"
    " seeds, with its 95 % interval over the same draws of patients. A draw in which the figure below is zero has no"
    " ratio: the columns at the end count such draws, and they count towards an open end (∞)."
)


@dataclass(frozen=True)
class TableContext:
    """What all tables of a benchmark share.

    Attributes:
        data: what the rows were measured on, in words; for phantoms it says so.
        gallery: the rows of the test split.
        chance: the chance level of every retrieval metric.
        ceiling: by direction, what an oracle reaches; only on phantoms.
        draws: of intervals and tests.
        configs: of each row, flat.
        trials: of each row, how many learning rates were tried to their end.
    """

    data: str
    gallery: Gallery
    chance: Mapping[str, float]
    ceiling: Mapping[str, Mapping[str, float]]
    resampling: Resampling
    configs: Mapping[str, Mapping[str, Any]]
    trials: Mapping[str, int]


def table_1(numbers: Statistics, data: str) -> Table:
    """Return the statistics of the cohort."""
    columns: list[Column] = [("", name) for name in ("Average", "Median", "Range")]
    cells = [(Cell(of.mean), Cell(of.median), Cell(f"{of.low} ~ {of.high}")) for of in numbers.table]
    lines = [
        TableRow(of.name, "measured", cells=dict(zip(columns, own, strict=True)))
        for of, own in zip(numbers.table, cells, strict=True)
    ]
    return Table(
        "table1",
        f"Table 1: image and report statistics of {data}. {totals(numbers)}",
        (),
        columns,
        (),
        lines,
        (),
        "Statistic",
        "Table 1",
    )


def table_2(methods: Sequence[RowResult], context: TableContext) -> tuple[Table, list[Difference]]:
    """Return retrieval in both directions, and every pairwise difference."""
    columns = [(DIRECTION_TITLES[direction], name) for direction in DIRECTIONS for name in RETRIEVAL]
    return _retrieval(
        2, methods, context, columns, f"Table 2: retrieval in both directions on {context.data}.", DIRECTIONS
    )


def table_3(methods: Sequence[RowResult], context: TableContext) -> tuple[Table, list[Difference]]:
    """Return keyword retrieval (a volume with the label is relevant), and every pairwise difference."""
    here = [method for method in methods if 3 in method.row.tables]
    prevalence: Mapping[str, float] = next((method.prevalence for method in here if method.prevalence), {})
    names = [name for name in KEYWORD if name != "P@100" or len(context.gallery.rows) >= LARGE]
    groups = {
        label: (
            f"{label} (prevalence {prevalence[label]:.1f} %)"
            if label in prevalence
            else f"{label} (none in the gallery)"
        )
        for label in PAPER_KEYWORDS
    }
    columns = [(group, name) for group in groups.values() for name in names]
    found = differences(
        [method for method in here if method.status == DONE],
        PAPER_KEYWORDS,
        names,
        context.gallery.patient,
        context.resampling,
    )
    lines = _lines(here, context, {label: groups[label] for label in PAPER_KEYWORDS}, names, found)
    chance = TableRow(
        "chance (prevalence)",
        "chance",
        cells={(groups[label], name): Cell(of) for label, of in prevalence.items() for name in names},
    )
    large = (
        "" if len(context.gallery.rows) >= LARGE else f" P@100 is left out: the gallery has fewer than {LARGE} volumes."
    )
    caption = (
        f"Table 3: keyword retrieval on {context.data}. P@K in percent; a volume with the label is relevant;"
        f" gallery of {len(context.gallery.rows)} volumes.{large}"
    )
    notes = [
        BOLD,
        "Differences of keywords: p is twice the share of the bootstrap's draws that contradict the sign.",
        *_label_note(here),
    ]
    facts = (*ENCODERS, LABELS)
    return Table("table3", caption, facts, columns, COST, [*lines, chance], notes, heading="Table 3"), found


def table_4(methods: Sequence[RowResult], context: TableContext) -> tuple[Table, list[Difference]]:
    """Return the ablation, text → image, and every pairwise difference."""
    columns = [(DIRECTION_TITLES[DIRECTIONS[0]], name) for name in RETRIEVAL]
    return _retrieval(
        4, methods, context, columns, f"Table 4: ablation, text → image, ResNet, on {context.data}.", DIRECTIONS[:1]
    )


def published_table(number: int, methods: Sequence[RowResult], data: str) -> Table:
    """Return the paper's own numbers of a table, each row beside ours that corresponds to it."""
    beside: dict[str, str] = {}
    for method in methods:
        for name in method.row.paper if number in method.row.tables else ():
            beside[name] = f"{beside[name]}; {method.row.title}" if name in beside else method.row.title
    groups: Mapping[int, Mapping[str, str]] = {
        1: {"": ""},
        2: {direction: DIRECTION_TITLES[direction] for direction in DIRECTIONS},
        3: {label: label for label in PAPER_KEYWORDS},
        4: {DIRECTIONS[0]: DIRECTION_TITLES[DIRECTIONS[0]]},
    }
    return paper_table(number, groups[number], data, beside, percent=number == 3)


def difference_table(number: int, found: Sequence[Difference], titles: Mapping[str, str], data: str) -> Table:
    """Return every pairwise difference of a table, with interval and p-values, and of R@K the ratios."""
    columns: list[Column] = [("", name) for name in ("difference", "p", "p Holm")]
    ratios: list[Column] = [("", name) for name in ("ratio", "inverse ratio")]
    facts = ("minus", "of", "figure")
    lines = []
    for of in found:
        names = (titles[of.other], DIRECTION_TITLES.get(of.subject, of.subject), of.figure)
        cells = (Cell(of.value, interval=of.interval, digits=2), Cell(of.p, digits=4), Cell(of.p_holm, digits=4))
        row_facts, row_cells = dict(zip(facts, names, strict=True)), dict(zip(columns, cells, strict=True))
        for column, name, ratio in zip(ratios, ZERO_DRAWS, (of.ratio, of.inverse), strict=True):
            if ratio is not None:
                row_cells[column] = Cell(
                    "–" if ratio.value is None else ratio.value, interval=(ratio.low, ratio.high), digits=2
                )
                row_facts[name] = str(ratio.zero_draws)
        lines.append(TableRow(titles[of.one], "measured", row_facts, row_cells))
    caption = f"Table {number}, every pairwise difference, on {data}."
    notes = [
        "A row is the first method minus the second, with its 95 % interval over patients; p Holm is over all pairs in"
        " a figure."
    ]
    if any(of.ratio for of in found):
        columns = [*columns[:1], *ratios, *columns[1:]]
        notes.append(RATIOS)
    return Table(
        f"table{number}_differences", caption, facts, columns, ZERO_DRAWS if len(columns) > 3 else (), lines, notes
    )


def _retrieval(
    number: int,
    methods: Sequence[RowResult],
    context: TableContext,
    columns: list[Column],
    caption: str,
    directions: Sequence[str],
) -> tuple[Table, list[Difference]]:
    here = [method for method in methods if number in method.row.tables]
    found = differences(
        [method for method in here if method.status == DONE],
        directions,
        RETRIEVAL,
        context.gallery.patient,
        context.resampling,
    )
    groups = {direction: DIRECTION_TITLES[direction] for direction in directions}
    lines = _lines(here, context, groups, RETRIEVAL, found)
    below = [
        TableRow(
            "chance",
            "chance",
            cells={(group, name): Cell(of) for group in groups.values() for name, of in context.chance.items()},
        ),
        TableRow(
            "ceiling (oracle that knows the reports' findings)",
            "ceiling",
            cells={
                (groups[direction], name): Cell(of)
                for direction in directions
                for name, of in context.ceiling.get(direction, {}).items()
            },
        ),
    ]
    size, patients = len(context.gallery.rows), patients_of(context.gallery)
    notes = [BOLD, MEDIAN, *(_gate_note(here) if number == 4 else _label_note(here))]
    facts = ("text sampler", "L_mse", *ENCODERS) if number == 4 else (*ENCODERS, LABELS)
    caption += f" {size} queries over a gallery of {size} volumes{patients}. R@K in percent; MdR, MnR: lower is better."
    lines += [line for line in below if line.cells]
    return (
        Table(f"table{number}", caption, facts, columns, COST, lines, notes, heading=f"Table {number}"),
        found,
    )


def _lines(
    methods: Sequence[RowResult],
    context: TableContext,
    groups: Mapping[str, str],
    names: Sequence[str],
    found: Sequence[Difference],
) -> list[TableRow]:
    bold = {}
    for subject in groups:
        for name in names:
            values = {
                of.row.name: of.figures[subject][name].value for of in methods if name in of.figures.get(subject, {})
            }
            rows = [row for row in found if (row.subject, row.figure) == (subject, name)]
            bold[subject, name] = best_and_significant(values, rows, name)
    lines = []
    for method in methods:
        cells = {
            (groups[subject], name): Cell(
                figure.value, figure.sd, figure.interval, bold[subject, name] == method.row.name
            )
            for subject in groups
            for name, figure in method.figures.get(subject, {}).items()
            if name in names
        }
        lines.append(
            TableRow(method.row.title, source_of(method), _row_facts(method, context), cells, status_of(method))
        )
    return lines


def patients_of(gallery: Gallery) -> str:
    """Say how many patients a gallery is of, or that nobody knows."""
    named = gallery.description.get("patients_named", True)
    return f" of {len(set(gallery.patient))} patients" if named else ", with no patient_id"


def source_of(method: RowResult) -> Source:
    """Return where a row's values come from, or why there are none."""
    return "measured" if method.status == DONE else "not run" if method.status.startswith(NOT_RUN) else "failed"


def status_of(method: RowResult) -> str:
    """Return what stands in place of values; empty where there are values."""
    return {"measured": "", "not run": method.status, "failed": "failed: rows.csv says why"}[source_of(method)]


def _row_facts(method: RowResult, context: TableContext) -> dict[str, str]:
    """Return the encoders that a row really used, and what it cost."""
    config = context.configs[method.row.name]
    sampler = str(config.get("data.text_sampler.class_path", "")).rpartition(".")[2]
    row_facts = {
        "text sampler": "✓" if sampler not in ("", "HeadSampler") else "",
        "L_mse": "✓" if float(config.get("model.objective.init_args.consistency", 1.0)) else "",
    }
    if method.status != DONE:
        return row_facts
    about = method.results[0]["about"]
    seconds = mean(record["seconds_fit"] + record["seconds_test"] for record in method.records)
    seen = sorted({int(record["pairs_seen"]) for record in method.records})
    return {
        **row_facts,
        LABELS: "✓" * _learns_labels(method),
        "image encoder": str(about["volume_encoder"]),
        "text encoder": str(about["text_encoder"]),
        "seeds": str(len(method.records)),
        "trials": str(context.trials[method.row.name]),
        "pairs seen": ", ".join(f"{of:,}" for of in seen),
        "min a run": f"{seconds / 60:.1f}",
    }


def _learns_labels(method: RowResult) -> bool:
    """Return whether a row's objective has a loss that reads the manifest's labels."""
    weights = [method.config.get(f"model.objective.init_args.{name}") for name in ("keywords", "presence")]
    return method.row.train and any(float(weight or 0.0) > 0 for weight in weights)


def _label_note(methods: Sequence[RowResult]) -> list[str]:
    return [LABELS_NOTE] if any(map(_learns_labels, methods)) else []


def _gate_note(methods: Sequence[RowResult]) -> list[str]:
    entropies = [
        record["gate_entropy"]
        for method in methods
        for record in method.records
        if record.get("gate_entropy") is not None and method.results[0]["about"].get("fusion") == "ChannelGate"
    ]
    if not entropies:
        return []
    return [
        f"The channel gate of equations 5 and 6, as printed: over the {len(entropies)} runs of this table that have it,"
        f" the entropy of its softmax, averaged over training, is {min(entropies):.6f} to {max(entropies):.6f} of ln D,"
        " the largest possible (1: every channel gets the same weight, so that the fused vector is the first view's up"
        " to scale)."
    ]
