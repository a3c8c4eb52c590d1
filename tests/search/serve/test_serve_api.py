"""The API: what it answers, and that its figures are `evaluate`'s."""

import asyncio
import io
import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from starlette.testclient import TestClient

from bimcvr.cli import main
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import read_manifest
from bimcvr.data.reading.volume import read_volume
from bimcvr.metrics.per_query import rank_metrics
from bimcvr.metrics.ranking.ranks import TIE, Ranks
from bimcvr.models.embedder import Embedder, FileVector
from bimcvr.models.text.base import FrozenTextEncoder
from bimcvr.search.server import service as service_module
from bimcvr.search.server.limits import ConcurrencyLimits
from helpers.running_server import Made


def ask(client: TestClient, **request: object) -> dict:
    response = client.post("/api/search", json=request)
    assert response.status_code == 200, response.text
    return response.json()


def ranks_of(scores: np.ndarray, group: np.ndarray) -> Ranks:
    """Ranks (Q,) from the scores (Q, N) of Q = N queries: the definition, row by row."""
    counts = []
    for query, row in enumerate(scores):
        right = group == group[query]
        best = row[right].max()
        wrong, also = row[~right], row[right]
        counts.append(
            (np.sum(wrong > best + TIE), np.sum(np.abs(wrong - best) <= TIE), np.sum(np.abs(also - best) <= TIE))
        )
    return Ranks(*torch.tensor(np.array(counts)).T)


def test_the_rank_engine_gives_evaluates_figures_from_the_apis_scores(made: Made, client: TestClient) -> None:
    manifest = read_manifest(made.manifest)
    gallery = evaluation_gallery(manifest, *split_rows(manifest, "test"), "test")
    reports = manifest.column("report")
    queries = {
        "text_to_image": [{"mode": "text", "query": reports[row], "into": "image"} for row in gallery.rows],
        "image_to_text": [{"mode": "study", "query": study, "into": "report"} for study in gallery.study_id],
    }
    known = json.loads((made.run / "result.json").read_text())["metrics"]
    for way, requests in queries.items():
        rows = []
        for request in requests:
            found = client.post("/api/scores", json={**request, "where": ["split = test"]}).json()
            scores = dict(zip(found["cases"], found["scores"], strict=True))
            assert set(scores) == set(gallery.study_id)
            rows.append([scores[study] for study in gallery.study_id])
        computed = rank_metrics(ranks_of(np.array(rows), gallery.group), (1, 5))
        for name, value in computed.items():
            assert value == pytest.approx(known[way][name], abs=1e-6), (way, name)


def test_the_index_tells_what_it_is(client: TestClient) -> None:
    facts = client.get("/api/index").json()
    assert (facts["studies"], facts["patients"], facts["phantom"], facts["has_patients"], facts["can_embed"]) == (
        30,
        16,
        True,
        False,
        True,
    )
    assert {item["value"]: item["count"] for item in facts["labels"]} == {"nodule": 30, "right": 15, "left": 15}
    columns = {
        column["name"]: {item["value"]: item["count"] for item in column["values"]} for column in facts["columns"]
    }
    assert columns["sex"] == {"F": 15, "M": 15}
    assert columns["ward"] == {"general": 29, "private": 1}
    assert columns["split"] == {"train": 16, "val": 7, "test": 7}


def test_every_mode_gives_ranked_cases_with_what_was_matched(client: TestClient) -> None:
    found = ask(client, mode="text", query="a nodule in the right upper zone", top=5)
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3, 4, 5]
    assert sorted((hit["score"] for hit in found["hits"]), reverse=True) == [hit["score"] for hit in found["hits"]]
    first = found["hits"][0]
    assert "nodule" in {first["report"][span["start"] : span["end"]] for span in first["spans"]}
    assert ask(client, mode="keyword", query="nodule")["hits"]
    assert ask(client, mode="text", query="right upper", hybrid=True)["score_is"].startswith("fused")
    words = ask(client, mode="words", query="case number 7")
    assert "number 7 " in words["hits"][0]["report"]
    alike = ask(client, mode="study", query="SECRET-s4", into="image", top=30)
    assert len(alike["hits"]) == 29
    assert "SECRET-s4" not in {hit["case"] for hit in alike["hits"]}
    assert ask(client, mode="study", query="SECRET-s4", into="report", top=30)["candidates"] == 30


def test_a_keyword_ranks_reports_too(client: TestClient) -> None:
    hits = {
        into: ask(client, mode="keyword", query="nodule", into=into, top=30)["hits"] for into in ("image", "report")
    }
    assert [hit["score"] for hit in hits["image"]] != [hit["score"] for hit in hits["report"]]
    scores = client.post("/api/scores", json={"mode": "keyword", "query": "nodule", "into": "report"}).json()
    by_case = dict(zip(scores["cases"], scores["scores"], strict=True))
    assert [hit["score"] for hit in hits["report"]] == pytest.approx(
        sorted(by_case.values(), reverse=True)[:30], abs=1e-6
    )


def test_a_query_outside_the_training_gets_a_note(client: TestClient) -> None:
    assert any("not trained" in note for note in ask(client, mode="text", query="haemorrhage brain")["notes"])


def test_filters_hold(client: TestClient) -> None:
    found = ask(client, mode="text", query="a nodule", where=["labels = right", "age >= 60", "sex = F"], top=50)
    assert found["candidates"] == len(found["hits"]) > 0
    assert all("right" in hit["labels"] and hit["columns"]["sex"] == "F" for hit in found["hits"])
    assert ask(client, mode="text", query="a nodule", where=["split = val", "labels = none such"])["hits"] == []
    joined = ask(
        client, mode="text", query="a nodule", where=["labels = right"], condition="age >= 60 and sex = 'F'", top=50
    )
    assert [hit["case"] for hit in joined["hits"]] == [hit["case"] for hit in found["hits"]]
    assert ask(client, mode="text", query="a nodule", where=["sex = F and age >= 60"])["candidates"] == 0, (
        "a single condition is not split"
    )
    refused = client.post("/api/search", json={"mode": "text", "query": "x", "where": ["agee = 3"]})
    assert refused.status_code == 422
    assert "'age'" in refused.json()["detail"]


def test_a_case_has_its_report_grid_and_neighbours(client: TestClient) -> None:
    found = client.get("/api/case", params={"case": "SECRET-s7"}).json()
    assert "number 7 " in found["report"]
    assert found["labels"] == ["left", "nodule"]
    assert found["grid"] == {"size": [20, 20, 18], "spacing_mm": [3.0, 3.0, 4.0], "obliquity": 0.0}
    assert len(found["nearest"]) == 6
    assert "SECRET-s7" not in {near["case"] for near in found["nearest"]}
    assert client.get("/api/case", params={"case": "SECRET-s77"}).status_code == 404


def test_thumbnails_are_pictures(client: TestClient) -> None:
    for plane in ("axial", "coronal", "sagittal"):
        response = client.get("/api/thumbnail", params={"case": "SECRET-s7", "plane": plane})
        assert response.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(response.content)).size[0] > 50


def test_the_viewers_volume_is_the_source_on_its_own_grid(made: Made, client: TestClient, tmp_path: Path) -> None:
    sent = client.get("/api/volume", params={"case": "SECRET-s7"})
    assert sent.status_code == 200
    (tmp_path / "v.nii.gz").write_bytes(sent.content)
    ours, source = (
        read_volume(tmp_path / "v.nii.gz"),
        read_volume(Path(read_manifest(made.manifest).column("volume")[7])),
    )
    assert np.array_equal(ours.hu, source.hu)
    assert ours.spacing == pytest.approx(source.spacing)
    kept = list((made.index / "derived/volumes").glob("*/*.nii.gz"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert client.get("/api/volume", params={"case": "SECRET-s7"}).content == sent.content
    assert before == {path: path.stat().st_mtime_ns for path in kept}, "made once"


def test_a_volume_that_was_exchanged_is_not_shown_as_the_case(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(read_manifest(made.manifest).column("volume")[6])
    image = sitk.ReadImage(str(source))
    other = tmp_path / "other.nii.gz"
    service = made.service()
    state = service.snapshot()
    row = state.index.row("SECRET-s6")
    monkeypatch.setattr(state.index, "row", lambda study: replace(row, source=str(other)))

    def volume_of_case(changed: sitk.Image) -> tuple[int, str]:
        sitk.WriteImage(changed, str(other))
        response = client.get("/api/volume", params={"case": "SECRET-s6"})
        return response.status_code, response.text if response.status_code != 200 else ""

    with made.client(service) as client:
        assert volume_of_case(image) == (200, "")
        cut = image[:, :, :-1]
        finer = sitk.Image(image)
        finer.SetSpacing([step * 0.99 for step in image.GetSpacing()])
        for changed in (cut, finer, cut):
            status, message = volume_of_case(changed)
            assert (status, "another size or spacing" in message) == (404, True)
        assert volume_of_case(image) == (200, "")
        other.unlink()
        for make in (other.mkdir, other.rmdir):  # an empty folder, nothing
            make()
            response = client.get("/api/volume", params={"case": "SECRET-s6"})
            assert response.status_code == 404
            assert str(tmp_path) not in response.text
    service.close()


def test_an_uploaded_volume_finds_itself(client: TestClient, made: Made, tmp_path: Path) -> None:
    source = Path(read_manifest(made.manifest).column("volume")[4])
    image = sitk.ReadImage(str(source))
    for name in ("q.nii.gz", "q.nii", "q.mha", "q.nrrd"):
        sitk.WriteImage(image, str(tmp_path / name))
        params = {"name": name, "top": 3, "where": '["sex = F"]', "condition": "age >= 40 and age < 60"}
        response = client.post("/api/search/volume", params=params, content=(tmp_path / name).read_bytes())
        assert response.status_code == 200, response.text
        assert response.json()["hits"][0]["case"] == "SECRET-s4"
        assert response.json()["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_a_zip_of_a_real_dicom_series_is_read_as_its_folder(client: TestClient, tmp_path: Path) -> None:
    if "BIMCVR_REAL_DATA" not in os.environ:
        pytest.skip("BIMCVR_REAL_DATA names no folder of real volumes")
    series = Path(os.environ["BIMCVR_REAL_DATA"]) / "lidc_idri_small/LIDC-IDRI-0003"
    archive = Path(shutil.make_archive(str(tmp_path / "series"), "zip", series.parent, series.name))
    sent = client.post("/api/convert", params={"name": "series.zip"}, content=archive.read_bytes())
    assert sent.status_code == 200, sent.text
    (tmp_path / "v.nii.gz").write_bytes(sent.content)
    ours, source = read_volume(tmp_path / "v.nii.gz"), read_volume(series)
    assert np.array_equal(ours.hu, source.hu)
    assert ours.spacing == pytest.approx(source.spacing)


def test_an_index_that_changes_is_served_as_it_is_now(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "REOPEN_SECONDS", 0.0)
    copy = tmp_path / "index"
    shutil.copytree(made.index, copy)
    service = service_module.SearchService(copy, made.model, anonymous=False)
    with made.client(service) as client:
        assert client.get("/api/volume", params={"case": "SECRET-s5"}).status_code == 200
        kept = set((copy / "derived/volumes").iterdir())
        assert main(["index", "--out", str(copy), "--remove", "SECRET-s5"]) == 0
        assert client.get("/api/index").json()["studies"] == 29
        assert client.get("/api/case", params={"case": "SECRET-s5"}).status_code == 404
        gone = kept - set((copy / "derived/volumes").iterdir())
        assert len(gone) == 1, "the volume of a study that was taken out is deleted"
    service.close()


def test_a_state_is_held_while_a_request_is_at_it(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that takes minutes to read is answered from the index as it was when the request came.

    Whatever is committed meanwhile.
    """
    monkeypatch.setattr(service_module, "REOPEN_SECONDS", 0.0)
    copy = tmp_path / "index"
    shutil.copytree(made.index, copy)
    service = service_module.SearchService(copy, made.model, anonymous=False)
    reading, may_go_on = threading.Event(), threading.Event()

    def embed_slowly(source: Path) -> FileVector:
        reading.set()
        assert may_go_on.wait(60)
        return made.model.encode_file(source)

    monkeypatch.setattr(service, "model", SimpleNamespace(encode_file=embed_slowly, embed_texts=made.model.embed_texts))
    monkeypatch.setattr(service.snapshot().searcher, "model", service.model)
    old = service.snapshot().index
    source = Path(read_manifest(made.manifest).column("volume")[4])
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: service.snapshot().search_volume(source, 30, [], "", "image"))
        assert reading.wait(60)
        for number in (1, 2, 4):
            assert main(["index", "--out", str(copy), "--remove", f"SECRET-s{number}"]) == 0
            assert len(service.snapshot().index) < 30
        assert old._lock is not None
        may_go_on.set()
        hits = found.result(60).hits
    assert (len(hits), hits[0].case) == (30, "SECRET-s4")
    del found
    assert old._lock is None, "closed when no request uses it"
    service.close()


def test_an_index_without_a_model_says_what_it_can_do(made: Made) -> None:
    service = made.service(with_model=False)
    with made.client(service) as client:
        facts = client.get("/api/index").json()
        assert not facts["can_embed"]
        assert "without a model" in facts["why_not"]
        assert {item["value"] for item in facts["keywords"]} == {"nodule", "right", "left"}
        assert ask(client, mode="keyword", query="nodule")["hits"]
        assert ask(client, mode="words", query="nodule")["hits"]
        assert client.post("/api/search", json={"mode": "text", "query": "large right effusion"}).status_code == 422
        assert client.post("/api/search/volume", params={"name": "a.nii"}, content=b"x").status_code == 422
    service.close()


def test_one_thread_is_at_the_model_whatever_others_do() -> None:
    """Each thread that calls torch keeps buffers for good: with as many as there are in the pool, memory would grow."""

    async def mixed() -> set[int]:
        limits = ConcurrencyLimits()
        seen = []
        for number in range(12):
            # now these, now those end first, and go back to the pool first
            rows = [limits.run_at_rows(partial(time.sleep, 0.001 * (number % 3))) for _ in range(3)]
            *_, model = await asyncio.gather(
                *rows, limits.run_at_model(lambda: (time.sleep(0.001), threading.get_ident())[-1])
            )
            seen.append(model)
        return set(seen)

    assert len(asyncio.run(mixed())) == 1


class Lengths(FrozenTextEncoder):
    """A text's length, in every element."""

    def encode(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[float(len(text))] * self.dim for text in texts])


def test_a_served_model_remembers_few_texts(made: Made) -> None:
    model = Embedder(made.run / "checkpoints/best.ckpt", "cpu")
    encoder = Lengths(
        torch.nn.Linear(1, 1), model.retriever.text_encoder.dim, sentences=False, cache_size=100, source="lengths"
    )
    model.retriever.text_encoder = encoder
    model.limit_text_cache(5)
    texts = ["a" * number for number in range(1, 21)]
    first = model.embed_texts(texts)
    assert len(encoder._cache) == 5
    assert np.array_equal(first, model.embed_texts(texts))
