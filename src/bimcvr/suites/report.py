"""The HTML page of a benchmark: tables, charts, budget, cohort, and the provenance of everything."""

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from bimcvr.data.hu.model_grid import describe_grid
from bimcvr.data.manifest import Manifest
from bimcvr.html.render import render
from bimcvr.metrics.ranking.ranks import DIRECTIONS
from bimcvr.provenance import git_commit, versions
from bimcvr.suites.paper_tables import TableContext
from bimcvr.suites.run_process import DONE
from bimcvr.suites.runner import Record
from bimcvr.suites.runs import Run
from bimcvr.suites.scores import RowResult
from bimcvr.suites.suite import Suite
from bimcvr.suites.tables.table import Cell, Column, Table, TableRow


def page(
    suite: Suite,
    manifest: Manifest,
    tables: Sequence[Table],
    figures: Mapping[str, Markup],
    records: Mapping[Run, Record],
    methods: Sequence[RowResult],
    context: TableContext | None,
    data: str,
    random: Collection[str],
) -> str:
    """Return the page as self-contained HTML.

    Args:
        suite: The suite as it was run.
        manifest: The cohort.
        tables: All of them; those of differences are collapsed.
        figures: The charts as SVG.
        records: How every run ended.
        methods: The rows' results.
        context: What the tables share; None if no run has succeeded.
        data: What was measured on, in words.
        random: The names of the rows of random weights: their runs are listed apart.
    """
    ordinary, apart = (
        {run: of for run, of in records.items() if (run.row in random) is of_random} for of_random in (False, True)
    )
    return render(
        "suites/report.html",
        synthetic=manifest.is_phantom,
        has_patients=manifest.has_patients,
        suite=suite,
        data=data,
        headlines=_headlines([method for method in methods if not method.random], context),
        random=[row.title for row in suite.rows if row.name in random],
        tables=[table for table in tables if not table.name.endswith("differences")],
        differences=[table for table in tables if table.name.endswith("differences")],
        figures=figures,
        budget=budget(suite),
        facts=_facts(suite, manifest, records, methods),
        runs=[_runs(ordinary, data), *([_runs(apart, data, True)] if apart else [])],
        set_aside={str(run): record["reason"] for run, record in records.items() if record["status"] != DONE},
    )


def budget(suite: Suite) -> str:
    """Describe the budget of every row."""
    factors = suite.budget.learning_rate_factors
    tried = ", ".join(f"{factor:g}" for factor in factors)
    return (
        f"One budget for all trained rows: {suite.budget.epochs} epochs over the same training split, {len(factors)}"
        f" tuning trial{'s' if len(factors) > 1 else ''} (a row's own learning rate times {tried}; at seed 0, chosen by"
        f" the score of val), {suite.budget.seeds} seed{'s' if suite.budget.seeds > 1 else ''} (fewer for minor rows;"
        " the column says how many); the run of the chosen trial is the run of seed 0. The checkpoint that is tested"
        " is the best on val. A row that is not trained has no trials and one run. Minutes are those of fit and test"
        " of one run, beside the other runs that went on at the time; filling the cache of volumes does not count."
    )


def machine() -> str:
    """Describe this machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    model = next(named, platform.processor() or platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else 0
    import torch

    cards = (
        [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else []
    )
    return ", ".join(
        [f"{platform.system()} {platform.machine()}", model, f"{os.cpu_count()} cores", f"{memory:.0f} GB", *cards]
    )


def _facts(
    suite: Suite, manifest: Manifest, records: Mapping[Run, Record], methods: Sequence[RowResult]
) -> dict[str, str]:
    done = [record for record in records.values() if record["status"] == DONE]
    abouts = [result["about"] for method in methods for result in method.results]
    commits = sorted({str(about["git_commit"]) for about in abouts})
    facts = {
        "Suite": str(suite.path),
        "Manifest": f"{manifest.path}, hash {manifest.digest}",
        "Split": f"{abouts[0]['split_strategy']}: {abouts[0]['split_shares']}" if abouts else "",
        "Patients in two splits": str(abouts[0]["patient_overlap"]) if abouts else "",
        "Grids": ", ".join(sorted({describe_grid(about) for about in abouts})),
        "Right answers": next((str(method.results[0]["rule"]) for method in methods if method.results), ""),
        "Runs": (
            f"{len(done)} of {len(records)} succeeded and took"
            f" {sum(record['seconds'] for record in done) / 60:.0f} process minutes"
        ),
        "Peak memory of a run": f"{max(record['peak_memory_mb'] for record in done):,.0f} MB" if done else "",
        "Runs at commit": ", ".join(commits),
        "Tables at commit": git_commit(),
        "Machine": machine(),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    return {name: text for name, text in facts.items() if text}


def _headlines(methods: Sequence[RowResult], context: TableContext | None) -> list[str]:
    """State the best R@10 of each direction in a sentence."""
    lines = []
    for direction, asked in zip(DIRECTIONS, ("a report, the right volume", "a volume, the right report"), strict=True):
        known = [method for method in methods if "R@10" in method.figures.get(direction, {}) and 2 in method.row.tables]
        if not known or context is None:
            continue
        best = max(known, key=lambda method: method.figures[direction]["R@10"].value)
        figure = best.figures[direction]["R@10"]
        lines.append(
            f"Given {asked} is among the first 10 of {len(context.gallery.rows)} in {figure.value:.1f} %"
            f" [{figure.interval[0]:.1f}, {figure.interval[1]:.1f}] of the searches with {best.row.title}, the highest"
            f" of {len(known)} rows (chance {context.chance['R@10']:.1f} %; on {context.data})."
        )
    return lines


def _runs(records: Mapping[Run, Record], data: str, random: bool = False) -> Table:
    columns: list[Column] = [("", name) for name in ("learning rate", "val score", "fit, s", "test, s", "peak MB")]
    keys = ("val_score", "seconds_fit", "seconds_test", "peak_memory_mb")
    lines = []
    for run, record in records.items():
        shown = [run.learning_rate, *(record.get(key) for key in keys)]
        cells = {
            column: Cell(f"{value:g}" if column[1] == "learning rate" else float(value))
            for column, value in zip(columns, shown, strict=True)
            if value is not None
        }
        done = record["status"] == DONE
        lines.append(
            TableRow(
                run.row,
                "measured" if done else "failed",
                {"seed": str(run.seed), "trial": str(run.trial)},
                cells,
                "" if done else record["status"],
            )
        )
    return Table(
        "runs",
        f"{'RANDOM WEIGHTS: every' if random else 'Every'} run, on {data}. The score of val chooses checkpoint and"
        " trial.",
        ("seed", "trial"),
        columns,
        (),
        lines,
    )
