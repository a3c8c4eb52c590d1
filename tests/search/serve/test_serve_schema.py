"""Whatever the schema allows, and much that it does not, is answered.

Never by a failure of the server (schemathesis).
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from starlette.testclient import TestClient

from bimcvr.search.server.app import PAGE
from helpers.running_server import Made, app_of, left_behind

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: the API was not tried with generated requests"
)
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance  # noqa: E402

EXAMPLES = 12
CHECKS = (not_a_server_error, response_schema_conformance, content_type_conformance)


@pytest.fixture(scope="module")
def schema(made: Made) -> Iterator[Any]:
    service = made.service()
    yield schemathesis.openapi.from_asgi("/api/openapi.json", app_of(service, hosts=("testserver", "localhost")))
    service.close()


# its own parametrize does not run under pytest 9
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=str)
def test_generated_requests_are_answered(made: Made, schema: Any, mode: GenerationMode) -> None:
    before = sorted(path for path in made.index.rglob("*") if "volumes" not in path.parts)
    tried = Counter[int]()
    for operation in (found.ok() for found in schema.get_all_operations()):
        try:
            cases = operation.as_strategy(generation_mode=mode)
            _try_all(cases, tried)
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, "only an operation without parameters has no invalid request"
    assert sum(tried.values()) > 50
    assert len(tried) > 1 or mode is GenerationMode.NEGATIVE, "what the schema allows is not always refused"
    assert left_behind(made.index) == []
    assert before == sorted(path for path in made.index.rglob("*") if "volumes" not in path.parts)


def _try_all(cases: Any, tried: Counter[int]) -> None:
    @given(case=cases)
    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    def each(case: Any) -> None:
        tried[case.call_and_validate(checks=CHECKS).status_code] += 1

    each()


@pytest.mark.parametrize(
    ("idle", "why"),
    [
        ({"mode": "study", "query": "SECRET-s1", "hybrid": True}, "has none to fuse"),
        ({"mode": "words", "query": "nodule", "hybrid": True}, "has none to fuse"),
        ({"mode": "words", "query": "nodule", "into": "image"}, "no volumes"),
    ],
)
def test_options_that_a_query_would_ignore_are_refused(client: TestClient, idle: dict[str, Any], why: str) -> None:
    response = client.post("/api/search", json=idle)
    assert response.status_code == 422
    assert why in response.json()["detail"]
    heeded = {name: value for name, value in idle.items() if name in ("mode", "query")}
    assert client.post("/api/search", json=heeded).status_code == 200


def test_the_schema_names_what_the_page_calls(schema: Any) -> None:
    described = {path.lstrip("/") for path in schema.raw_schema["paths"]}
    scripts = [path.read_text() for path in PAGE.glob("*.js") if path.name != "niivue.umd.js"]
    called = {name for script in scripts for name in re.findall(r'"(api/[\w/]+)"', script)}
    assert called
    assert called <= described
