"""Everything that a benchmark writes: rows, tables, figures, and the page."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from bimcvr.atomic_files import write_text
from bimcvr.data.manifest import Manifest
from bimcvr.evaluation.result import Resampling
from bimcvr.metrics.per_query import chance_metrics
from bimcvr.phantom.oracle import phantom_ceiling
from bimcvr.suites.figures import draw_figures
from bimcvr.suites.paper_tables import (
    TableContext,
    difference_table,
    published_table,
    table_1,
    table_2,
    table_3,
    table_4,
)
from bimcvr.suites.protocol_tables import protocol_tables
from bimcvr.suites.report import page
from bimcvr.suites.run_process import DONE
from bimcvr.suites.runner import BenchmarkFolder, Record
from bimcvr.suites.runs import Run, flat
from bimcvr.suites.scores import CURVE, RowResult, TestSplit, chosen_runs, row_is_random, score, tested_split
from bimcvr.suites.suite import Suite
from bimcvr.suites.tables.table import Table
from bimcvr.suites.tables.table_formats import as_csv, as_latex, as_markdown

RANDOM = "RANDOM WEIGHTS, not results of these models."
APART = "random_weights_"
"""Rows of random weights are in files, tables and parts of the page of their own, which say so."""


def write_benchmark_outputs(
    suite: Suite,
    rows: Sequence[list[list[Run]]],
    records: Mapping[Run, Record],
    places: BenchmarkFolder,
    manifest: Manifest,
    resamples: int,
) -> list[Table]:
    """Write `rows.csv`, the tables, figures and the page.

    Args:
        suite: The suite as it was run.
        rows: For each of its rows the runs, by trial and seed.
        records: How they ended.
        places: The benchmark's folder.
        manifest: The cohort.
        resamples: Number of resamples of intervals and tests.

    Returns:
        All tables.
    """
    import torch

    data = describe(suite, manifest)
    random = {trials[0][0].row for trials in rows if row_is_random(trials, records, places)}
    apart = [trials for trials in rows if trials[0][0].row in random]
    ordinary = [trials for trials in rows if trials[0][0].row not in random]
    write_text(places.folder / "rows.csv", rows_csv(ordinary, records, places, data))
    if random:
        write_text(places.folder / f"{APART}rows.csv", rows_csv(apart, records, places, f"{RANDOM} {data}"))
    tested = tested_split(rows, records, places, manifest)
    tables = [table_1(_statistics(tested.manifest if tested else manifest, places.folder / "facts"), data)]
    if any(row.tables for row in suite.rows):
        tables.append(published_table(1, (), data))
    methods: list[RowResult] = []
    context: TableContext | None = None
    figures: dict[str, Markup] = {}
    if tested:
        resampling = Resampling(0, resamples)
        methods = [
            score(row, trials, records, places, tested, resampling)
            for row, trials in zip(suite.rows, rows, strict=True)
        ]
        context = TableContext(
            data,
            tested.gallery,
            chance_metrics(torch.as_tensor(tested.gallery.group), CURVE),
            phantom_ceiling(tested.manifest, tested.gallery.rows),
            resampling,
            {trials[0][0].row: trials[0][0].config for trials in rows},
            {trials[0][0].row: tried(trials, records) for trials in rows},
        )
        tables += _tables(suite, [method for method in methods if not method.random], tested, context)
        tables += [
            replace(
                table,
                name=f"{APART}{table.name}",
                caption=f"{RANDOM} {table.caption}",
                heading=f"Random weights. {table.heading}" if table.heading else "",
            )
            for table in _tables(suite, [method for method in methods if method.random], tested, context)
            if table.lines and all(line.source != "paper" for line in table.lines)
        ]
        figures = draw_figures([method for method in methods if not method.random], context)
    for table in tables:
        for suffix, write in (("md", as_markdown), ("tex", as_latex), ("csv", as_csv)):
            write_text(places.folder / "tables" / f"{table.name}.{suffix}", write(table))
    for name, drawing in figures.items():
        write_text(places.folder / "figures" / f"{name}.svg", f'<?xml version="1.0" encoding="utf-8"?>\n{drawing}')
    text = page(suite, manifest, tables, figures, records, methods, context, data, random)
    write_text(places.folder / "report.html", text)
    return tables


def _tables(suite: Suite, methods: Sequence[RowResult], tested: TestSplit, context: TableContext) -> list[Table]:
    """Return the tables of some rows of a suite: the paper's, and those of galleries and pools."""
    titles = {method.row.name: method.row.title for method in methods}
    tables: list[Table] = []
    for number, build in ((2, table_2), (3, table_3), (4, table_4)):
        if any(number in method.row.tables for method in methods):
            table, found = build(methods, context)
            published = published_table(number, methods, context.data)
            tables += [table, published, difference_table(number, found, titles, context.data)]
    return [*tables, *(protocol_tables(suite.galleries, suite.pools, methods, tested, context) if methods else [])]


def describe(suite: Suite, manifest: Manifest) -> str:
    """Describe the data; for phantoms the description begins with that word."""
    if suite.cohort:
        return f"phantom (synthetic) data, {suite.cohort.patients:,} patients, cohort seed {suite.cohort.seed}"
    kind = f"phantom (synthetic){' and patient' if manifest.has_patients else ''} data, " if manifest.is_phantom else ""
    return f"{kind}manifest {manifest.path.name} ({manifest.digest})"


def tried(trials: Sequence[list[Run]], records: Mapping[Run, Record]) -> int:
    """Count a row's learning rates whose run succeeded; a row that is not trained has none."""
    return sum(of[0].learning_rate is not None and records.get(of[0], {}).get("status") == DONE for of in trials)


def rows_csv(rows: Sequence[list[list[Run]]], records: Mapping[Run, Record], places: BenchmarkFolder, data: str) -> str:
    """Return one line a run: how it ended, its figures and its whole configuration, flat."""
    lines = []
    for trials in rows:
        chosen = set(chosen_runs(trials, records))
        lines += [
            _row_of(run, records[run], run in chosen, places, data) for of in trials for run in of if run in records
        ]
    names = dict.fromkeys(name for line in lines for name in line)
    ordered = sorted(names, key=lambda name: name.startswith("config."))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ordered, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _row_of(run: Run, record: Record, chosen: bool, places: BenchmarkFolder, data: str) -> dict[str, Any]:
    line: dict[str, Any] = {
        "data": data,
        "row": run.row,
        "trial": run.trial,
        "seed": run.seed,
        "chosen": chosen,
        "learning_rate": run.learning_rate,
        "identity": run.identity,
        **{name: value for name, value in record.items() if name != "folder"},
        "run": "",
    }
    path = places.result(run, record)
    config: Mapping[str, Any] = run.config
    if path:
        result = json.loads(path.read_text(encoding="utf-8"))
        line["run"] = str(path.parent)
        facts = ("volume_encoder", "text_encoder", "fusion", "manifest_hash", "git_commit", "device")
        line |= {name: result["about"][name] for name in facts}
        line |= {f"test.{name}": value for name, value in flat(result["metrics"]).items()}
        config = flat(yaml.safe_load((path.parent / "config.yaml").read_text(encoding="utf-8")))
    plain = {
        name: value if isinstance(value, str | int | float) else json.dumps(value) for name, value in config.items()
    }
    return {**line, **{f"config.{name}": value for name, value in plain.items()}}


def _statistics(manifest: Manifest, facts: Path) -> Any:
    from bimcvr.curation.statistics.tables import geometry_of_rows, statistics_of

    return statistics_of(manifest, geometry_of_rows(manifest, facts))
