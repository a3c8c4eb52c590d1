"""Relevance feedback and judgements: moved queries, the file that the page writes, and the verb that reads it."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from starlette.testclient import TestClient

from bimcvr.cli import main
from bimcvr.data import judgements
from bimcvr.data.judgements import Query, append_judgement, read_judgements
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings, save_embeddings
from bimcvr.metrics.judged import judged_metrics
from bimcvr.search.index.reader import Index
from bimcvr.search.query.searcher import Searcher
from bimcvr.search.server.service import SearchService
from helpers.index_factory import WordEncoder, make_index, prompts, study
from helpers.running_server import HOST, app_of

COUNT = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    studies = [study(f"s{number}", split="test") for number in range(COUNT)]
    return make_index(tmp_path_factory.mktemp("made") / "index", studies)


@pytest.fixture(scope="module")
def index(folder: Path) -> Iterator[Index]:
    with Index.open(folder) as opened:
        yield opened


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_a_query_is_moved_by_rocchios_formula(index: Index) -> None:
    searcher = Searcher(index, WordEncoder())
    image = {name: unit(index.image.row(index.position(name)).astype(np.float64)) for name in index.study_ids}
    start = searcher.text("left lung").query_vector
    assert start is not None
    moved = unit(start) + 0.75 * (image["s1"] + image["s2"]) / 2 - 0.15 * image["s3"]
    results = searcher.like(["s1", "s2"], ["s3"], text="left lung", top=COUNT)
    assert results.query_vector == pytest.approx(moved)
    expected = {name: float(unit(moved) @ vector) for name, vector in image.items() if name not in ("s1", "s2", "s3")}
    assert {hit.study_id: hit.score for hit in results.hits} == pytest.approx(expected, abs=1e-6)
    assert [hit.score for hit in results.hits] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-6)
    for fits, others in (([], ["s1"]), (["s1"], ["s1"]), (["s99"], [])):
        with pytest.raises(UserError):
            searcher.like(fits, others)


def test_search_like_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(folder), "--like", "s1,s2", "--unlike", "s3", "--top", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["mode"], len(answer["hits"]), answer["candidates"]) == ("like", 3, COUNT - 3)
    assert main(["search", str(folder), "--unlike", "s3"]) != 0
    assert main(["search", str(folder), "--like", "s1", "--study", "s2"]) != 0


def test_p_and_ndcg_count_ties_in_expectation() -> None:
    figures = judged_metrics(torch.tensor([1.0, 0.5, 0.5, 0.1]), torch.tensor([False, True, False, True]), [1, 2, 9])
    assert figures["P@1"] == 0
    assert figures["P@2"] == pytest.approx(25)
    second = 1 / math.log2(3)
    assert figures["nDCG@2"] == pytest.approx(0.5 * second / (1 + second))
    assert "P@9" not in figures
    assert judged_metrics(torch.tensor([1.0]), torch.tensor([False]), [1]) == {"P@1": 0.0}


def test_judgements_are_kept_and_the_last_one_holds(tmp_path: Path) -> None:
    path, query = tmp_path / "judgements.csv", Query("text", 'large "effusion", left\nlung')
    for name, relevant in (("s1", True), ("s2", False), ("s1", False), ("s2", None), ("s3", True)):
        append_judgement(path, query, name, relevant)
    assert read_judgements(path) == {query: {"s1": False, "s3": True}}
    path.write_text("mode,query,study_id,relevant\nkeyword,nodule,s1,maybe\n")
    with pytest.raises(UserError, match="line 2"):
        read_judgements(path)


def test_no_judgement_is_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "judgements.csv"
    typed = ['=HYPERLINK("http://x"&A1)', "+1", "-nodule", "@x", "'=quoted", "plain"]
    for query in typed:
        append_judgement(path, Query("text", query), "=s1", True)
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert read_judgements(path) == {Query("text", query): {"=s1": True} for query in typed}


def test_the_file_of_judgements_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgements, "MOST_BYTES", 2000)
    path, query = tmp_path / "judgements.csv", Query("text", "nodule")
    for number in range(200):
        append_judgement(path, query, f"s{number % 5}", number % 2 == 0)
        assert path.stat().st_size <= 2000
    assert read_judgements(path) == {query: {f"s{number % 5}": number % 2 == 0 for number in range(195, 200)}}
    assert path.stat().st_mode & 0o777 == 0o600

    def fill() -> None:
        for number in range(200):
            append_judgement(path, query, f"other{number}", True)

    with pytest.raises(UserError, match="takes no more"):
        fill()
    kept = read_judgements(path)[query]
    assert len(kept) > 30, "nothing of it is lost"
    assert kept["s4"] is False
    append_judgement(path.with_name("moved.csv"), query, "s1", True)
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["judgements.csv", "moved.csv"]


def test_the_page_judges_and_evaluate_reads_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = SearchService(folder, WordEncoder(), anonymous=True)  # type: ignore[arg-type]
    with TestClient(app_of(service), base_url=HOST, raise_server_exceptions=False) as client:
        hits = client.post("/api/search", json={"mode": "keyword", "query": "nodule"}).json()["hits"]
        for hit in hits[:4]:
            judgement = {
                "mode": "keyword",
                "query": "nodule",
                "case": hit["case"],
                "relevant": "nodule" in hit["report"],
            }
            assert client.post("/api/judgements", json=judgement).json() == {"saved": True}
        names = [hit["case"] for hit in hits]
        more = client.post(
            "/api/search/like", json={"relevant": names[:1], "not_relevant": names[1:2], "text": "nodule"}
        )
        assert {hit["case"] for hit in more.json()["hits"]}.isdisjoint(names[:2])
        text = {"mode": "text", "query": "a text of its own", "case": names[0], "relevant": True}
        assert client.post("/api/judgements", json=text).status_code == 200
        assert client.post("/api/judgements", json={**text, "case": "nobody"}).status_code == 404
        assert client.post("/api/search/like", json={"relevant": []}).status_code == 422
    service.close()
    judged = read_judgements(folder / "judgements.csv")
    assert set(judged[Query("keyword", "nodule")]) <= {f"s{number}" for number in range(COUNT)}, "ids, not opaque names"
    with Index.open(folder) as index:
        rows = [index.row(name) for name in index.study_ids]
        image, report = (np.stack([stream.row(i) for i in range(COUNT)]) for stream in (index.image, index.text))
    pd.DataFrame([row.cells for row in rows]).to_csv(tmp_path / "manifest.csv", index=False)
    ids = [row.study_id for row in rows]
    embeddings = Embeddings(ids, torch.from_numpy(image), torch.from_numpy(report), prompts())
    save_embeddings(tmp_path / "e.npz", embeddings)
    words = ["evaluate", str(tmp_path / "e.npz"), "--out", str(tmp_path / "result.json"), "--resamples", "10"]
    assert main([*words, "--judgements", str(folder / "judgements.csv")]) == 0
    found = json.loads((tmp_path / "result.json").read_text())["judgements"]
    assert (len(found["queries"]), found["without_vector"]) == (1, 1)
    assert found["queries"][0]["judged"] == 4
    assert 0 <= found["metrics"]["P@1"]["mean"] <= 100
    assert "judged by people: 1 queries" in capsys.readouterr().out
