"""Many machines: shares of job arrays and a Dask cluster end with the manifest of a single run."""

import shutil
from pathlib import Path

import pytest

from bimcvr.cli import main
from bimcvr.commands.dataset.curate import curate
from bimcvr.curation.pipeline.decisions import Checks, SplitStep
from bimcvr.curation.sources.bimcv.bimcv_r import BimcvR
from bimcvr.curation.sources.csv_table import CsvTable
from bimcvr.errors import UserError
from curation.conftest import write_table

STEPS = {"checks": Checks((), ()), "assign_splits": SplitStep(), "size": (6, 8, 8), "jobs": 1}


@pytest.mark.parametrize(("keep", "count"), [("nothing", 3), ("archives", 2), ("all", 12)])
def test_the_parts_of_a_job_array_make_the_same_manifest(archives: Path, tmp_path: Path, keep: str, count: int) -> None:
    """Twelve jobs are more than there are shards: each then has its share of the studies."""
    for name in ("alone", "array"):
        shutil.copytree(archives / "shards/bimcv_r", tmp_path / name / "bimcv_r")

    def run(name: str, shard: str | None = None) -> int:
        return curate(
            BimcvR(str(tmp_path / name / "bimcv_r"), keep=keep), tmp_path / name / "out", **STEPS, shard=shard
        )  # type: ignore[arg-type]

    assert run("alone") == 0
    for number in range(count, 0, -1):
        assert run("array", f"{number}/{count}") == 0
        assert not (tmp_path / "array/out/manifest.csv").exists()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "array/out/cache").rglob("*.ct")}
    assert run("array") == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "array/out/cache").rglob("*.ct")} == made
    assert len(made) > 10
    for name in ("manifest.csv", "set_aside.csv", "log/checks.csv", "log/split.csv"):
        assert (tmp_path / "array/out" / name).read_bytes() == (tmp_path / "alone/out" / name).read_bytes()


@pytest.mark.slow
def test_the_same_call_on_a_cluster_of_two_workers(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="bimcvr[curate] is not installed")
    table = write_table(tmp_path, 24)
    assert curate(CsvTable(str(table)), tmp_path / "alone", **STEPS) == 0  # type: ignore[arg-type]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        words = [
            "curate",
            "--source",
            "bimcvr.curation.CsvTable",
            "--source.table",
            str(table),
            "--out",
            str(tmp_path / "cluster"),
            "--size",
            "[6, 8, 8]",
            "--checks",
            "{reject: [], review: []}",
            "--assign_splits",
            "{strategy: patient_hash}",
            "--scheduler",
            cluster.scheduler_address,
        ]
        assert main(words) == 0
        with distributed.Client(cluster) as client:
            done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(done) == 2
    assert all(count > 0 for count in done.values()), done
    assert (tmp_path / "cluster/manifest.csv").read_bytes() == (tmp_path / "alone/manifest.csv").read_bytes()
    assert len(list((tmp_path / "cluster/cache").rglob("*.ct"))) == 24


def test_a_scheduler_that_is_not_there(tmp_path: Path, unused_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="bimcvr[curate] is not installed")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("refused")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(UserError, match="no Dask scheduler"):
        curate(
            CsvTable(str(write_table(tmp_path, 1))),
            tmp_path / "out",
            scheduler=f"tcp://127.0.0.1:{unused_port}",
        )
