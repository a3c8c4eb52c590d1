"""The verb `benchmark`: one suite in, Tables 1 to 4, figures and a page out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bimcvr.commands.stdout import say, width

if TYPE_CHECKING:
    from bimcvr.suites.suite import Suite


def benchmark(
    suite: Path = Path("experiments/suites/phantom.yaml"),
    manifest: Path | None = None,
    root: Path | None = None,
    out: Path | None = None,
    only: str = "",
    patients: int | None = None,
    cohort_seed: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    trials: int | None = None,
    jobs: int = -1,
    resamples: int = 10_000,
) -> int:
    """Run what is missing of a suite, then write the paper's tables, figures and one page for people.

    Every row has the same data, splits, metrics, pairs seen and number of tuning trials. Stopped or killed, the same
    command goes on. A run that is finished is known by its configuration and its data, and is not run again. Rows whose
    published weights are not on this machine are printed as not run.

    Writes `rows.csv` (one line a run), `tables/` (Markdown, LaTeX, CSV), `figures/` (SVG) and `report.html`.

    Args:
        suite: the YAML file of the suite.
        manifest: the manifest, a CSV file; for a suite that makes no phantoms.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default.
        out: where the result is written: a folder, runs/benchmark/<suite> by default.
        only: the names of the suite's rows to run, with commas between; all by default.
        patients: how many patients the phantom cohort has; as in the suite by default.
        cohort_seed: the seed of the phantom cohort; as in the suite by default.
        epochs: how many epochs a run is trained for; as in the suite by default.
        seeds: how many seeds a row is trained with; as in the suite by default.
        trials: how many tuning trials a row gets; as in the suite by default.
        jobs: parallel processes; -1 for one per CPU core. Each trains one run; -1 is one process where there is a GPU,
            and at most four on CPU cores.
        resamples: bootstrap resamples, and rounds of the randomisation tests.

    Returns:
        The exit code: 0, or 3 where a run failed.
    """
    from bimcvr.presets import preset
    from bimcvr.suites.suite import read_suite

    names = tuple(filter(None, only.split(",")))
    chosen = read_suite(preset(suite)).smaller(names, patients, cohort_seed, epochs, seeds, trials)
    folder = out or Path("runs/benchmark") / chosen.name
    manifest = _manifest(chosen, manifest, folder)

    from bimcvr.data.manifest import read_manifest
    from bimcvr.evaluation.columns import columns, paragraph
    from bimcvr.suites.outputs import write_benchmark_outputs
    from bimcvr.suites.run_process import DONE, FAILED
    from bimcvr.suites.runner import BenchmarkFolder, run_all
    from bimcvr.suites.runs import plan
    from bimcvr.suites.tables.table_formats import as_rows

    cohort = read_manifest(manifest, root)
    places = BenchmarkFolder(folder)
    rows = [
        plan(chosen, row, manifest.resolve(), root and root.resolve(), cohort.digest, places.runs.resolve())
        for row in chosen.rows
    ]
    records = run_all(rows, places, jobs if jobs > 0 else _jobs())
    tables = write_benchmark_outputs(chosen, rows, records, places, cohort, resamples)
    for table in (table for table in tables if "differences" not in table.name):
        parts = [paragraph(table.caption, width()), [""], columns(as_rows(table), width()), [""]]
        parts += [paragraph(note, width()) for note in table.notes]
        say("\n".join([line for part in parts for line in part] + [""]))
    without_result = [f"{run}: {record['status']}" for run, record in records.items() if record["status"] != DONE]
    if without_result:
        say(f"{len(without_result)} runs have no result:\n" + "\n".join(without_result))
    say(f"{folder}: report.html, rows.csv, tables, figures")
    return 3 if any(record["status"] == FAILED for record in records.values()) else 0


def _manifest(suite: "Suite", manifest: Path | None, folder: Path) -> Path:
    from bimcvr.commands.dataset.phantom import phantom
    from bimcvr.errors import UserError

    if suite.cohort is None:
        if manifest is None:
            raise UserError(
                f"{suite.path} makes no cohort of its own: give one as --manifest, as in `make benchmark"
                f" MANIFEST=manifest.csv SUITE={suite.name}`."
            )
        return manifest
    if manifest is not None:
        raise UserError(f"{suite.path} makes its own phantoms: leave --manifest out, or take a suite without a cohort.")
    cohort = folder / f"cohort-{suite.cohort.patients}-{suite.cohort.seed}"
    phantom(cohort, patients=suite.cohort.patients, seed=suite.cohort.seed)
    return cohort / "manifest.csv"


def _jobs() -> int:
    import torch

    return 1 if torch.cuda.is_available() else max(1, min(4, os.cpu_count() or 1))
