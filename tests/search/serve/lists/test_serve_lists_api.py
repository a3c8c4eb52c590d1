"""What the API tells for lists of cases: counts under filters, near-duplicates, patients, dates and series facts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from bimcvr.search.index.reader import Index
from bimcvr.search.index.series_facts import day_of, series_columns
from bimcvr.search.query.near_duplicates import NearDuplicates
from bimcvr.search.query.searcher import Searcher
from bimcvr.search.server.service import SearchService
from helpers.index_factory import DIM, make_index, study
from helpers.lists_index import COUNT, make_listed
from helpers.running_server import HOST, app_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_listed(tmp_path_factory.mktemp("listed") / "index")


def client_of(folder: Path, anonymous: bool = False) -> Iterator[TestClient]:
    service = SearchService(folder, None, anonymous)
    with TestClient(app_of(service), base_url=HOST, raise_server_exceptions=False) as client:
        yield client
    service.close()


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    yield from client_of(folder)


@pytest.fixture(scope="module")
def hidden(folder: Path) -> Iterator[TestClient]:
    yield from client_of(folder, anonymous=True)


def hits(client: TestClient, **request: object) -> list[dict]:
    response = client.post("/api/search", json={"mode": "keyword", "query": "nodule", "top": 50, **request})
    assert response.status_code == 200, response.text
    return response.json()["hits"]


@pytest.mark.parametrize(
    ("where", "condition"),
    [
        ([], ""),
        (["labels = nodule"], ""),
        (["labels = nodule", "sex = F"], ""),
        (["kernel = B30f", "sex = M"], "age >= 30 and age < 40"),
        (["labels = none such"], ""),
    ],
)
def test_counts_are_what_a_search_would_find(client: TestClient, where: list[str], condition: str) -> None:
    def found(*conditions: str) -> int:
        request = {"mode": "words", "query": "there", "where": list(conditions), "condition": condition}
        return client.post("/api/search", json=request).json()["candidates"]

    counts = client.post("/api/counts", json={"where": where, "condition": condition}).json()
    assert counts["studies"] == found(*where)
    assert set(counts["labels"]) == {"nodule", "emphysema", "pleural effusion", "atelectasis"}
    for label, number in counts["labels"].items():
        assert number == found(*where, f"labels = {label}"), label
    assert set(counts["columns"]) >= {"sex", "kernel"}
    for column in ("sex", "kernel"):
        others = [one for one in where if not one.startswith(f"{column} ")]
        for value, number in counts["columns"][column].items():
            assert number == found(*others, f"{column} = {value}"), (column, value)


def test_a_filter_that_is_none_is_refused_by_counts_too(client: TestClient, hidden: TestClient) -> None:
    response = client.post("/api/counts", json={"where": ["agee = 3"]})
    assert response.status_code == 422
    assert "'age'" in response.json()["detail"]
    assert hidden.post("/api/counts", json={"condition": "study_id = s1"}).status_code == 422
    assert "study_date" not in hidden.post("/api/counts", json={}).json()["columns"]


def test_near_duplicates_name_the_best_ranked_and_keep_their_ranks(client: TestClient) -> None:
    found = hits(client)
    assert [hit["rank"] for hit in found] == list(range(1, COUNT + 1))
    ranks = {hit["case"]: hit["rank"] for hit in found}
    repeats = {hit["case"]: (hit["repeats"], hit["repeats_why"]) for hit in found if hit["repeats"]}
    expected = {}
    for pair, why in ((("s0", "s8"), "report"), (("s4", "s12"), "volume"), (("s5", "s13"), "volume")):
        best, worse = sorted(pair, key=ranks.__getitem__)
        expected[worse] = (best, why)
    assert repeats == expected
    # a copy that is filtered out has no other to lie under
    assert all(not hit["repeats"] for hit in hits(client, where=["sex = F"]) if hit["case"] in ("s4", "s5"))


def test_vectors_that_tell_nothing_apart_fold_nothing(tmp_path: Path) -> None:
    same = np.ones(DIM, dtype=np.float32)
    studies = [replace(study(f"s{number}"), image=same) for number in range(12)]
    with Index.open(make_index(tmp_path / "ix", studies)) as index:
        ranked = Searcher(index).keyword("nodule", top=12).hits
        assert NearDuplicates(index).of(ranked) == [None] * 12
    with Index.open(make_index(tmp_path / "empty", [])) as index:
        assert NearDuplicates(index).of([]) == []


def test_a_third_copy_lies_under_the_first(tmp_path: Path) -> None:
    """s1 has the report of s0, s2 the checksum of s1: all are one case, and s3 is another."""
    reports = {"s1": study("s0").cells["report"]}
    sums = {"s1": "a" * 64, "s2": "a" * 64}
    studies = [
        study(name, sha256=sums.get(name, ""), **({"report": reports[name]} if name in reports else {}))
        for name in ("s0", "s1", "s2", "s3")
    ]
    with Index.open(make_index(tmp_path / "ix", studies)) as index:
        ranked = sorted(Searcher(index).keyword("nodule", top=4).hits, key=lambda hit: hit.study_id)
        found = NearDuplicates(index).of(ranked)
        assert [one and (one.hit, one.why) for one in found] == [None, (0, "report"), (0, "volume"), None]
        without_ids = NearDuplicates(index, by_ids=False).of(ranked)
        assert [one and one.hit for one in without_ids] == [None, 0, None, None]


def test_a_case_has_its_series_and_the_studies_of_its_patient(client: TestClient) -> None:
    found = client.get("/api/case", params={"case": "s6"}).json()
    assert found["series"] == {
        "date": "20200707",
        "day": "2020-07-07",
        "kernel": "B30f",
        "thickness": "1.25",
        "contrast": "yes",
    }
    assert not {"study_date", "kernel", "slice_thickness"} & set(found["columns"])
    assert found["patient"] == "p3"
    assert [(one["case"], one["days_later"], one["series"]["kernel"]) for one in found["same_patient"]] == [
        ("s7", 32, "B70f")
    ]
    (earlier,) = client.get("/api/case", params={"case": "s7"}).json()["same_patient"]
    assert (earlier["case"], earlier["days_later"]) == ("s6", -32)
    (undated,) = client.get("/api/case", params={"case": "s2"}).json()["same_patient"]
    assert (undated["case"], undated["days_later"], undated["series"]["day"]) == ("s3", None, "")
    by_case = {hit["case"]: hit for hit in hits(client)}
    assert (by_case["s6"]["day"], by_case["s6"]["patient"], by_case["s3"]["day"]) == ("2020-07-07", "p3", "")


def test_without_ids_nothing_says_who_belongs_together(hidden: TestClient) -> None:
    found = hits(hidden)
    assert {(hit["patient"], hit["day"]) for hit in found} == {("", "")}
    # a checksum is an id; the report and the volume can be seen by who reads them
    assert sorted(hit["repeats_why"] for hit in found if hit["repeats"]) == ["report", "volume"]
    for hit in found:
        case = hidden.get("/api/case", params={"case": hit["case"]}).json()
        assert (case["patient"], case["same_patient"], case["series"]["date"]) == ("", [], "")
        assert case["series"]["kernel"] in ("B30f", "B70f"), "many have it"


def test_lists_are_kept_under_a_name_that_lasts_as_names_of_cases_do(folder: Path, client: TestClient) -> None:
    def lists(anonymous: bool) -> str:
        service = SearchService(folder, None, anonymous)
        name = service.snapshot().facts(1).lists
        service.close()
        return name

    assert client.get("/api/index").json()["lists"] == lists(anonymous=False)
    assert len({lists(anonymous=True), lists(anonymous=True), lists(anonymous=False)}) == 3


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("2020-02-29", "2020-02-29"),
        (" 20200229 ", "2020-02-29"),
        ("2020-02-29 08:30", "2020-02-29"),
        ("2021-02-29", ""),
        ("29/02/2020", ""),
        ("2020", ""),
        ("202002291", ""),
        ("", ""),
    ],
)
def test_a_date_is_one_for_certain_or_none(cell: str, day: str) -> None:
    assert day_of(cell) == day


def test_series_columns_go_by_the_names_of_curate_dicom_and_tables() -> None:
    assert series_columns(
        ["ConvolutionKernel", "Slice Thickness", "date", "study_date", "contrastBolusAgent", "x"]
    ) == {
        "date": "study_date",
        "kernel": "ConvolutionKernel",
        "thickness": "Slice Thickness",
        "contrast": "contrastBolusAgent",
    }
