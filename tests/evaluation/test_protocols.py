"""Galleries and pools of published protocols."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.cli import main
from bimcvr.contracts import Gallery
from bimcvr.evaluation.embeddings import Embeddings, save_embeddings
from bimcvr.evaluation.galleries import chosen_gallery
from bimcvr.evaluation.pools import DRAWS, RECALL_AT, pooled_retrieval
from bimcvr.evaluation.result import Resampling
from bimcvr.metrics.ranking.ranks import DIRECTIONS

FEW = Resampling(seed=3, resamples=50)


def gallery_of(patients: list[str], texts: list[int]) -> Gallery:
    count = len(patients)
    nothing = np.zeros(count, dtype=bool)
    return Gallery(
        rows=np.arange(count),
        study_id=[f"s{number}" for number in range(count)],
        group=np.array(texts),
        same_text=np.array(texts),
        elsewhere=nothing,
        flagged=nothing,
        patient=patients,
        labels=[frozenset()] * count,
        description={"split": "test"},
    )


def random_embeddings(count: int, seed: int, ties: bool) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    image, text = torch.randn(2, count, 4, generator=generator)
    if ties:  # few directions, so that cosines repeat
        image, text = image.sign(), text.sign()
    return Embeddings([f"s{number}" for number in range(count)], image, text)


def reference(run: Embeddings, gallery: Gallery, size: int, seed: int, direction: str) -> tuple[dict[str, float], int]:
    """Recall and mean rank by counting, one query at a time; also how many rows were in no pool."""
    query, items = (run.text, run.image) if direction == "text_to_image" else (run.image, run.text)
    query, items = (torch.nn.functional.normalize(part.double(), dim=1) for part in (query, items))
    generator, count = np.random.default_rng(seed), len(gallery.rows)
    values: dict[int, list[dict[str, float]]] = {}
    for _ in range(DRAWS):
        order = generator.permutation(count)
        for start in range(0, count - size + 1, size):
            pool = order[start : start + size]
            for row in pool:
                score = {int(item): float(query[row] @ items[item]) for item in pool}
                right = [item for item in score if gallery.group[item] == gallery.group[row]]
                best = max(score[item] for item in right)
                above = sum(score[item] > best + 1e-6 for item in score if item not in right)
                wrong = sum(abs(score[item] - best) <= 1e-6 for item in score if item not in right)
                tied = sum(abs(score[item] - best) <= 1e-6 for item in right)
                # a random order of the tied items: the first right one among wrong + tied
                miss, hit = 1.0, {}
                for position in range(1, size + 1):
                    after = position - above
                    if 0 < after <= wrong + 1:
                        miss *= (wrong - after + 1) / (wrong + tied - after + 1)
                    hit[position] = 0.0 if after <= 0 else 1.0 if after > wrong else 1 - miss
                own = {f"R@{k}": 100 * hit[k] for k in RECALL_AT if k < size}
                own["MnR"] = above + (wrong + tied + 1) / (tied + 1)
                values.setdefault(int(row), []).append(own)
    by_row = [{name: np.mean([draw[name] for draw in draws]) for name in draws[0]} for draws in values.values()]
    return {name: float(np.mean([row[name] for row in by_row])) for name in by_row[0]}, count - len(by_row)


@settings(max_examples=6, deadline=None)
@given(size=st.integers(2, 7), seed=st.integers(0, 99), ties=st.booleans(), texts=st.integers(3, 11))
def test_pools_equal_a_count_by_hand(size: int, seed: int, ties: bool, texts: int) -> None:
    gallery = gallery_of([f"p{number // 2}" for number in range(11)], [number % texts for number in range(11)])
    run = random_embeddings(11, seed, ties)
    pooled = pooled_retrieval([run], gallery, size, replace(FEW, seed=seed))
    assert pooled["pools"] == 11 // size
    for direction in DIRECTIONS:
        wanted, left_out = reference(run, gallery, size, seed, direction)
        assert left_out == 0, "every row is in a pool of some draw"
        for name, value in wanted.items():
            assert pooled["metrics"][direction][name] == pytest.approx(value, abs=1e-9), name
            low, high = pooled["intervals"][direction][name]
            assert low <= high
    if texts == 11:
        assert pooled["chance"]["R@1"] == pytest.approx(100 / size)
        assert pooled["chance"]["MnR"] == pytest.approx((size + 1) / 2)


def test_a_pool_of_everything_is_the_whole_gallery(tmp_path: Path) -> None:
    from bimcvr.evaluation.result import build_result

    gallery, run = gallery_of([f"p{n}" for n in range(12)], list(range(12))), random_embeddings(12, 0, False)
    whole = build_result([run], gallery, (1, 5, 8, 10), FEW)
    pooled = pooled_retrieval([run], gallery, 12, FEW)
    for direction in DIRECTIONS:
        for name, value in pooled["metrics"][direction].items():
            assert value == pytest.approx(whole["metrics"][direction][name])


@given(patients=st.lists(st.integers(0, 4), min_size=1, max_size=12), data=st.data())
def test_a_gallery_of_firsts(patients: list[int], data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.integers(0, 4), min_size=len(patients), max_size=len(patients)))
    gallery = gallery_of([f"p{number}" for number in patients], texts)
    by_patient = chosen_gallery(gallery, "one_per_patient")
    assert by_patient.rows.tolist() == [row for row, key in enumerate(patients) if key not in patients[:row]]
    by_report = chosen_gallery(gallery, "one_per_report")
    assert by_report.rows.tolist() == [row for row, key in enumerate(texts) if key not in texts[:row]]
    assert by_report.description["rows_left_out_of_gallery"] == len(patients) - len(set(texts))
    assert chosen_gallery(gallery, "all") is gallery


@pytest.fixture
def scored(tmp_path: Path) -> list[str]:
    """The words of an evaluation of 40 studies of 30 patients, 35 reports."""
    report = "There is a nodule in the right upper lobe of number"
    rows = [
        {
            "study_id": f"s{number}",
            "patient_id": f"p{number % 30}",
            "volume": f"s{number}.nii.gz",
            "report": f"{report} {number % 35}.",
            "labels": "nodule" if number % 2 else "effusion",
            "split": "test",
        }
        for number in range(40)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    save_embeddings(tmp_path / "e.npz", random_embeddings(40, 1, False))
    return ["evaluate", str(tmp_path / "e.npz"), "--manifest", str(tmp_path / "manifest.csv"), "--resamples", "50"]


def test_a_published_protocol_from_the_command_line(
    scored: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "r.json", tmp_path / "r.html"
    words = ["--gallery", "one_per_report", "--pools", "[8, 32]", "--out", str(out), "--html", str(page)]
    assert main([*scored, *words]) == 0
    result = json.loads(out.read_text())
    assert (result["n_queries"], result["about"]["gallery"], result["about"]["rows_left_out_of_gallery"]) == (
        35,
        "one_per_report",
        5,
    )
    assert [(pool["size"], pool["pools"]) for pool in result["pools"]] == [(8, 4), (32, 1)]
    printed = capsys.readouterr().out
    assert "35 queries = gallery (the first row of each report; 5 rows left out)" in " ".join(printed.split())
    assert "pools of 32, 100 draws\n" in printed
    text = page.read_text()
    assert "Within pools" in text
    assert "8 studies, 100 draws" in text
    assert main([*scored, "--gallery", "one_per_patient", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["n_queries"] == 30


@pytest.mark.parametrize("pool", ["1", "41"])
def test_a_pool_that_cannot_be_is_told_before_anything_is_scored(
    scored: list[str], pool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*scored, "--pools", f"[{pool}]"]) == 1
    assert f"A pool of {pool} needs at least 2 studies and at most the 40" in capsys.readouterr().err
