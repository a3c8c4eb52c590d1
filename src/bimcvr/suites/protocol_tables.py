"""Retrieval within the galleries and pools of published protocols, each protocol in a table of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bimcvr.contracts import Gallery
from bimcvr.data.hu.model_grid import describe_grid
from bimcvr.evaluation.galleries import GalleryChoice, chosen_gallery
from bimcvr.evaluation.pools import DRAWS, pooled_retrieval
from bimcvr.evaluation.result import build_result
from bimcvr.evaluation.text_table import gallery_choice
from bimcvr.metrics.per_query import RECALL_AT, chance_metrics
from bimcvr.metrics.ranking.ranks import DIRECTION_TITLES, DIRECTIONS, RULES, right_answers
from bimcvr.phantom.oracle import phantom_ceiling
from bimcvr.suites.paper_tables import ENCODERS, MEDIAN, TableContext, patients_of, source_of, status_of
from bimcvr.suites.run_process import DONE
from bimcvr.suites.scores import RowResult, TestSplit
from bimcvr.suites.suite import GalleryName
from bimcvr.suites.tables.table import Cell, Column, Table, TableRow

FACTS = (*ENCODERS, "grid", "trained here")
SCORES = (
    "Every score is the plain cosine of one query and one item; scores over the whole matrix (dual softmax, banks)"
    " are none of these. Figures of another table are under another protocol: N, chance or right answers differ."
)
INTERVALS = (
    "Brackets are 95 % intervals of the mean over seeds, by a bootstrap over patients (studies, where no"
    " patient is named); ± is the standard deviation over seeds."
)


class Protocol(NamedTuple):
    """A protocol by the options of `evaluate`.

    Attributes:
        title: in words.
        gallery: which of the split's rows are queries and gallery.
        rule: which answers are right: a key of `RULES`.
    """

    title: str
    gallery: GalleryChoice
    rule: str


PROTOCOLS: Mapping[GalleryName, Protocol] = {
    "all": Protocol("every row", "all", "report"),
    "diagonal": Protocol("every row, the query's own row alone is right", "all", "diagonal"),
    "one_per_patient": Protocol("one study a patient", "one_per_patient", "report"),
    "one_per_report": Protocol("one row a report, duplicates left out", "one_per_report", "report"),
}


def protocol_tables(
    galleries: Sequence[GalleryName],
    pools: Sequence[int],
    methods: Sequence[RowResult],
    tested: TestSplit,
    context: TableContext,
) -> list[Table]:
    """Return one table a gallery, and one a size of pools.

    Args:
        galleries: Keys of `PROTOCOLS`.
        pools: Sizes; pools are drawn from every row of the split.
        methods: The rows of all these tables, with those that have no result.
        tested: The split that they were tested on.
        context: What the tables of a benchmark share.
    """
    return [
        *(_gallery_table(name, methods, tested, context) for name in galleries),
        *(_pool_table(size, methods, tested, context) for size in pools),
    ]


def _gallery_table(name: GalleryName, methods: Sequence[RowResult], tested: TestSplit, context: TableContext) -> Table:
    title, choice, rule = PROTOCOLS[name]
    gallery = chosen_gallery(tested.gallery, choice)
    place = {study: number for number, study in enumerate(tested.gallery.study_id)}
    rows = [place[study] for study in gallery.study_id]
    unlabelled = replace(gallery, labels=[frozenset()] * len(rows))  # retrieval alone

    def scored(method: RowResult) -> dict[str, Any]:
        runs = [run.only(rows) for run in method.runs]
        return build_result(runs, unlabelled, RECALL_AT, context.resampling, rule)

    chance = chance_metrics(right_answers(gallery, rule), RECALL_AT)
    names = [metric for metric in chance if metric.startswith("R@") or metric == "MdR"]
    lines = _lines(methods, names, scored)
    lines.append(TableRow("chance", "chance", cells=_cells(dict.fromkeys(DIRECTIONS, chance), names)))
    ceiling = phantom_ceiling(tested.manifest, gallery.rows) if rule == "report" else {}
    if ceiling:
        lines.append(
            TableRow("ceiling (oracle that knows the reports' findings)", "ceiling", cells=_cells(ceiling, names))
        )
    caption = (
        f"Retrieval in both directions on {context.data}; gallery: {title}. {_split(methods, gallery)} {len(rows)}"
        f" queries over a gallery of {len(rows)} volumes{patients_of(gallery)}"
        f"{gallery_choice(gallery.description)}. Right answers: {RULES[rule]}. R@K in percent; MdR: lower is better."
    )
    heading = f"Gallery: {title}"
    return Table(
        f"gallery_{name}",
        caption,
        FACTS,
        _columns(names),
        ("seeds",),
        lines,
        (INTERVALS, MEDIAN, SCORES),
        heading=heading,
    )


def _pool_table(size: int, methods: Sequence[RowResult], tested: TestSplit, context: TableContext) -> Table:
    gallery, results = tested.gallery, dict[str, dict[str, Any]]()
    total = len(gallery.rows)

    def scored(method: RowResult) -> dict[str, Any]:
        results[method.row.name] = pooled_retrieval(method.runs, gallery, size, context.resampling)
        return results[method.row.name]

    if size > total:
        told = f"the {total} rows of the split do not fill a pool of {size}"
        names, lines = ["R@1"], [TableRow(method.row.title, "not run", status=told) for method in methods]
    else:
        lines = _lines(methods, None, scored)
        chance: dict[str, float] = next((result["chance"] for result in results.values()), {})
        names = [metric for metric in chance if metric.startswith("R@")] or ["R@1"]
        lines.append(TableRow("chance", "chance", cells=_cells(dict.fromkeys(DIRECTIONS, chance), names)))
    caption = (
        f"Retrieval within pools of {size} on {context.data}. {_split(methods, gallery)} {total}"
        f" rows{patients_of(gallery)}, shuffled {DRAWS} times and cut into pools that do not overlap"
        f" ({total // size} each time); each query is ranked against its own pool of {size} alone, and its value is"
        f" the mean over the draws. Right answers: {RULES['report']}. R@K in percent."
    )
    return Table(
        f"pools_{size}",
        caption,
        FACTS,
        _columns(names),
        ("seeds",),
        lines,
        (INTERVALS, SCORES),
        heading=f"Pools of {size}",
    )


def _columns(names: Sequence[str]) -> list[Column]:
    return [(title, name) for title in DIRECTION_TITLES.values() for name in names]


def _cells(values: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> dict[Column, Cell]:
    """Return the cells of a level that has no interval, by direction and metric."""
    return {
        (DIRECTION_TITLES[direction], name): Cell(value)
        for direction, of in values.items()
        for name, value in of.items()
        if name in names
    }


def _lines(
    methods: Sequence[RowResult], names: Sequence[str] | None, scored: Callable[[RowResult], dict[str, Any]]
) -> list[TableRow]:
    """Return a line a method; one that has no result is not scored, and says why.

    Args:
        methods: The table's rows.
        names: The metrics of its columns; None takes every R@K.
        scored: From a method to its `metrics`, `intervals` and, over several runs, `seeds_sd`.
    """
    lines = []
    for method in methods:
        if method.status != DONE:
            lines.append(TableRow(method.row.title, source_of(method), status=status_of(method)))
            continue
        result = scored(method)
        spread = result.get("seeds_sd", {})
        cells = {
            (title, name): Cell(
                value,
                spread[direction][name] if spread else None,
                result["intervals"][direction][name],
            )
            for direction, title in DIRECTION_TITLES.items()
            for name, value in result["metrics"][direction].items()
            if (name in names if names is not None else name.startswith("R@"))
        }
        lines.append(TableRow(method.row.title, "measured", _facts(method), cells))
    return lines


def _facts(method: RowResult) -> dict[str, str]:
    about = method.results[0]["about"]
    return {
        "image encoder": str(about["volume_encoder"]),
        "text encoder": str(about["text_encoder"]),
        "grid": describe_grid(about),
        "trained here": "✓" * method.row.train,
        "seeds": str(len(method.runs)),
    }


def _split(methods: Sequence[RowResult], gallery: Gallery) -> str:
    """Name the split, and how the rows' runs made it."""
    abouts = [method.results[0]["about"] for method in methods if method.results]
    how = abouts[0]["split_strategy"] if abouts else gallery.description["split_strategy"]
    return f"Split {gallery.description['split']} by {how}."
