"""What an offline W&B folder holds after a run: figures, config, the best checkpoint, a table of examples."""

import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bimcvr.atomic_files import sha256_of
from bimcvr.cli import main
from bimcvr.contracts import Gallery
from bimcvr.metrics.ranking.rank_engine import rank_both
from bimcvr.training.wandb_examples import COLUMNS, HITS, QUERIES, retrieved_examples
from helpers.cli import bimcvr, newest_run


def gallery(size: int) -> Gallery:
    names = [f"s{number}" for number in range(size)]
    plain = np.arange(size)
    return Gallery(
        plain, names, plain // 2, plain, plain < 0, plain < 0, names, [frozenset({f"l{n % 3}", "a"}) for n in plain], {}
    )


def test_examples_are_what_a_plain_sort_finds() -> None:
    rows = gallery(40)
    generator = torch.Generator().manual_seed(0)
    image, text = (torch.randn(40, 6, generator=generator) for _ in range(2))
    examples = retrieved_examples(image, text, rows, seed=3)
    assert len(examples) == 2 * QUERIES * HITS
    unit = {
        "volume": (image / image.norm(dim=1, keepdim=True)).numpy(),
        "report": (text / text.norm(dim=1, keepdim=True)).numpy(),
    }
    ranks = dict(
        zip(("text to image", "image to text"), rank_both(image, text, torch.as_tensor(rows.group)), strict=True)
    )
    for query, found, row in examples:
        said = dict(zip(COLUMNS, row, strict=True))
        asking, answering = ("report", "volume") if said["direction"] == "text to image" else ("volume", "report")
        scores = unit[answering] @ unit[asking][query]
        assert np.argsort(-scores)[said["place"] - 1] == found
        assert said["cosine"] == pytest.approx(scores[found], abs=1e-5)
        assert (said["query"], said["found"]) == (f"s{query}", f"s{found}")
        assert said["right"] == (query // 2 == found // 2)
        assert said["expected rank"] == float(ranks[said["direction"]].expected[query])
        assert said["found labels"] == f"a, l{found % 3}"


def test_the_choice_of_queries_is_the_seed_s_alone() -> None:
    rows, vectors = gallery(40), torch.randn(40, 6)
    chosen = [
        {example.query for example in retrieved_examples(part, part, rows, seed)}
        for part, seed in ((vectors, 1), (-vectors.flip(1), 1), (vectors, 2))
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_gallery_smaller_than_the_table_is_listed_whole() -> None:
    vectors = torch.eye(3)
    examples = retrieved_examples(vectors, vectors, gallery(3), seed=0)
    assert len(examples) == 2 * 3 * 3
    assert all(row[-1] for query, found, row in examples if query == found)


@pytest.fixture
def fitted(tiny_config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folder of a fit with W&B's own logger, offline and without a login."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    assert main(["fit", *tiny_config, "--trainer.logger", "true", "--trainer.log_every_n_steps", "1"]) == 0
    return newest_run(tmp_path / "runs")


def table_of(offline: Path, split: str) -> dict[str, list]:
    found = list(offline.glob(f"files/media/table/examples/{split}_*.table.json"))
    assert len(found) == 1, "one table, not a growing one"
    return json.loads(found[0].read_text())


def test_an_offline_folder_holds_run_file_table_and_artifact(fitted: Path) -> None:
    offline = next(fitted.glob("wandb/offline-run-*"))
    path, deadline = next(offline.glob("*.wandb")), time.monotonic() + 30
    while b"val/score" not in path.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.2)  # W&B's own process writes it
    record = path.read_bytes()
    assert b"val/score" in record
    assert b"data.manifest" in record or b"manifest" in record
    table = table_of(offline, "val")
    assert table["columns"] == list(COLUMNS)
    assert len(table["data"]) == 2 * QUERIES * HITS
    assert {row[1] for row in table["data"]} <= {f"s{number}" for number in range(16, 23)}
    staged = {sha256_of(path): path.name for path in offline.glob("artifacts/staging/*")}
    best = staged[sha256_of(fitted / "checkpoints/best.ckpt")]
    assert best.encode() in record, "the run file names the checkpoint's copy, which `wandb sync` sends"
    assert f"{fitted.parent.name}-{fitted.name}-checkpoint".encode() in record
    assert b"last.ckpt" not in record
    assert not list(offline.glob("files/media/images/*"))
    content = b"".join(path.read_bytes() for path in offline.rglob("*") if path.is_file() and path.name != best)
    assert b"There is a nodule" not in content, "no report text without log_examples"


def test_the_csv_log_beside_it_holds_the_history(fitted: Path) -> None:
    rows = list(csv.DictReader((fitted / "logs/version_0/metrics.csv").open()))
    scores = [float(row["val/score"]) for row in rows if row["val/score"]]
    assert len(scores) == 2, "one an epoch"
    assert any(row["train/loss"] for row in rows)


def test_images_and_reports_only_where_asked_for_and_with_one_warning(
    tiny_config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    asked = ["--trainer.logger", "true", "--log_examples", "true", "--experiment", "größe = 1 " * 14]
    with pytest.warns(UserWarning, match="patient data") as warned:
        assert main(["fit", *tiny_config, *asked]) == 0
    assert sum("patient data" in str(one.message) for one in warned) == 1
    assert main(["test", *tiny_config, *asked, "--ckpt_path", "best"]) == 0
    run = newest_run(tmp_path / "runs")
    folders = sorted(run.glob("wandb/offline-run-*"))
    tables = {
        split: next(filter(None, (list(folder.glob(f"files/media/table/examples/{split}_*")) for folder in folders)))[0]
        for split in ("val", "test")
    }
    for table in (json.loads(path.read_text()) for path in tables.values()):
        assert table["columns"][-2:] == ["volume", "report"]
        direction, query, found = (table["columns"].index(name) for name in ("direction", "query", "found"))
        for row in table["data"]:
            told = row[query] if row[direction] == "text to image" else row[found]
            assert f"case number {told.removeprefix('s')} of" in row[-1], "the report's own words"
    staged = [path.read_bytes() for folder in folders for path in folder.glob("artifacts/staging/*")]
    assert sum(b'"_type": "image-file"' in content for content in staged) >= len(tables)
    assert {row[query] for row in table["data"]} <= {f"s{number}" for number in range(23, 30)}
    assert any(content.startswith(b"\x89PNG") for content in staged)


def test_without_a_logger_nothing_of_wandb_is_written(tiny_config: list[str], tmp_path: Path) -> None:
    assert main(["fit", *tiny_config, "--log_examples", "true"]) == 0
    run = newest_run(tmp_path / "runs")
    assert not (run / "wandb").exists()
    assert (run / "logs/version_0/metrics.csv").is_file()


@pytest.mark.slow
def test_with_two_processes_the_first_one_logs_and_neither_waits(tiny_config: list[str], tmp_path: Path) -> None:
    done = bimcvr(
        "fit",
        *tiny_config,
        "--trainer.logger",
        "true",
        "--trainer.devices",
        "2",
        "--trainer.strategy",
        "ddp",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    offline = list(newest_run(tmp_path / "runs").glob("wandb/offline-run-*"))
    assert len(offline) == 1
    assert len(table_of(offline[0], "val")["data"]) == 2 * QUERIES * HITS
