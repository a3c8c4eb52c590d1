"""The OpenAI-compatible translator against a server on this machine that speaks the schema, and misbehaves."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bimcvr.curation.anonymise.anonymiser import Anonymised
from bimcvr.curation.translation.openai_api import OpenAITranslator, read_glossary
from bimcvr.curation.translation.translator import TranslationCache, TranslationError, translate_report
from bimcvr.errors import UserError

REPORT = Anonymised("No se observa derrame pleural derecho. Nódulo de 8 mm.", {})
RIGHT = "No right pleural effusion is seen. 8 mm nodule."
Answer = Callable[[BaseHTTPRequestHandler], None]


class Endpoint:
    """A server that gives one prepared answer a request, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint.times.append(time.monotonic())
                endpoint.headers.append(
                    {"path": self.path, **{key.lower(): value for key, value in self.headers.items()}}
                )
                endpoint.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                endpoint.answers.pop(0)(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def raw(body: bytes, code: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def said(text: str, finish: str | None = "stop") -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return raw(json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}).encode())


def status(code: int, **headers: str) -> Answer:
    return raw(b'{"error": {"message": "Bearer sk-secret and the report"}}', code, **headers)


def cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')


def cut_chunks(handler: BaseHTTPRequestHandler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b'400\r\n{"choices": [{"mess')
    handler.close_connection = True


def slow(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.8)
    with contextlib.suppress(OSError):  # nobody listens any more
        said(RIGHT)(handler)


def dropped(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def translator(endpoint: Endpoint, **options: Any) -> OpenAITranslator:
    return OpenAITranslator(endpoint.url, "m", **{"wait": 0.01, "attempts": 3, "timeout": 5.0, **options})


def test_a_good_answer(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answers = [said(RIGHT)]
    result = translate_report(REPORT, translator(endpoint), TranslationCache(tmp_path))
    assert (result.text, result.problems) == (RIGHT, ())
    assert endpoint.headers[0]["path"] == "/v1/chat/completions"
    assert endpoint.headers[0]["authorization"] == "Bearer sk-secret"
    asked = endpoint.asked[0]
    assert asked["model"] == "m"
    assert asked["temperature"] == 0
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert asked["messages"][1]["content"] == REPORT.text


@pytest.mark.parametrize("trouble", [status(429), status(500), status(502), status(503), cut, cut_chunks, dropped])
def test_passing_trouble_is_tried_again(endpoint: Endpoint, trouble: Answer) -> None:
    endpoint.answers = [trouble, trouble, said(RIGHT)]
    assert translator(endpoint)(REPORT) == RIGHT
    assert len(endpoint.asked) == 3


def test_an_answer_too_late_is_tried_again(endpoint: Endpoint) -> None:
    endpoint.answers = [slow, said(RIGHT)]
    assert translator(endpoint, timeout=0.3)(REPORT) == RIGHT


def test_back_off_grows_and_retry_after_is_kept(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("bimcvr.curation.translation.openai_api.time.sleep", slept.append)
    endpoint.answers = [
        status(500),
        status(500),
        status(429, Retry_After="7"),
        status(429, Retry_After="99999"),
        said(RIGHT),
    ]
    assert translator(endpoint, wait=1.0, attempts=5)(REPORT) == RIGHT
    assert slept == [1.0, 2.0, 7.0, 300.0]
    endpoint.answers = [
        status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        status(503, Retry_After="soon"),
        said(RIGHT),
    ]
    assert translator(endpoint, wait=1.0)(REPORT) == RIGHT
    assert slept[4:] == [1.0, 2.0]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b"[1]",
        b"null",
        b'{"choices": [{"message": {"content": "  "}}]}',
        b"\xff\xfe",
        b'{"choices": [{"message": "x"}]}',
    ],
)
def test_wrong_json_is_an_error_of_that_report(endpoint: Endpoint, tmp_path: Path, body: bytes) -> None:
    endpoint.answers = [raw(body), said(RIGHT)]
    cache, made = TranslationCache(tmp_path), translator(endpoint)
    result = translate_report(REPORT, made, cache)
    assert result.text == ""
    assert "endpoint" in result.problems[0].lower()
    assert translate_report(REPORT, made, cache).text == RIGHT  # not kept: the next run asks again


def test_an_answer_cut_by_the_model_is_an_error(endpoint: Endpoint) -> None:
    endpoint.answers = [said(RIGHT, "length")]
    with pytest.raises(TranslationError, match="stopped early"):
        translator(endpoint)(REPORT)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("A right pleural effusion is seen. 8 mm nodule.", "negations: 1 became 0 in sentence 1"),
        ("No left pleural effusion is seen. 8 mm nodule.", "left: 0 became 1"),
        ("No right pleural effusion is seen. 3 mm nodule.", "numbers lost: 8"),
    ],
)
def test_a_failed_check_is_tried_once_more_then_for_a_person(
    endpoint: Endpoint, tmp_path: Path, wrong: str, problem: str
) -> None:
    cache, made = TranslationCache(tmp_path), translator(endpoint)
    endpoint.answers = [said(wrong), said(RIGHT)]
    assert translate_report(REPORT, made, cache).problems == ()
    assert problem in endpoint.asked[1]["messages"][0]["content"]  # the second attempt is told what was wrong
    other = Anonymised(REPORT.text + " ", {})
    endpoint.answers = [said(wrong), said(wrong)]
    result = translate_report(other, made, cache)
    assert any(problem in found for found in result.problems)
    assert len(endpoint.asked) == 4
    again = translate_report(other, made, cache)  # a second run costs nothing, and is no less suspicious
    assert (again.problems, len(endpoint.asked)) == (result.problems, 4)


def test_cache_is_by_text_model_prompt_and_glossary(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TranslationCache(tmp_path / "kept")
    terms = tmp_path / "terms.csv"
    terms.write_text("derrame pleural,pleural effusion\n")
    endpoint.answers = [said(RIGHT)] * 6
    translate_report(REPORT, translator(endpoint), cache)
    translate_report(REPORT, translator(endpoint), cache)
    assert len(endpoint.asked) == 1
    translate_report(REPORT, OpenAITranslator(endpoint.url, "other"), cache)
    assert len(endpoint.asked) == 2
    translate_report(REPORT, translator(endpoint, glossary=str(terms)), cache)
    assert len(endpoint.asked) == 4  # the draft and its revision
    assert "derrame pleural = pleural effusion" in endpoint.asked[3]["messages"][1]["content"]
    monkeypatch.setattr("bimcvr.curation.translation.openai_api.PROMPT", "another prompt")
    translate_report(REPORT, translator(endpoint), cache)
    assert len(endpoint.asked) == 5
    assert all(
        "derrame" not in path.read_text() for path in (tmp_path / "kept").rglob("*.json")
    )  # no source text on disk


def test_second_pass_only_where_a_term_occurs(endpoint: Endpoint, tmp_path: Path) -> None:
    terms = tmp_path / "terms.csv"
    terms.write_text("vidrio deslustrado,ground glass\n")
    endpoint.answers = [said(RIGHT)]
    assert translator(endpoint, glossary=str(terms))(REPORT) == RIGHT
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("code", [401, 403, 404, 301])
def test_what_no_report_can_pass_stops_the_run(endpoint: Endpoint, tmp_path: Path, code: int) -> None:
    endpoint.answers = [status(code, Location="http://127.0.0.1:1/v1")]
    with pytest.raises(UserError) as caught:
        translate_report(REPORT, translator(endpoint), TranslationCache(tmp_path))
    assert "sk-secret" not in str(caught.value)
    assert REPORT.text not in str(caught.value)
    assert len(endpoint.asked) == 1


def test_a_dead_endpoint_stops_the_run_after_three_reports(endpoint: Endpoint, tmp_path: Path) -> None:
    made, cache = translator(endpoint, attempts=2), TranslationCache(tmp_path)
    endpoint.answers = [status(500)] * 4 + [status(400)]
    assert "500" in translate_report(REPORT, made, cache).problems[0]
    assert "500" in translate_report(REPORT, made, cache).problems[0]
    with pytest.raises(UserError, match="3 reports in a row"):
        translate_report(REPORT, made, cache)
    endpoint.server.server_close()


def test_only_anonymous_reports_are_sent(endpoint: Endpoint, tmp_path: Path) -> None:
    named = Anonymised("Informado por Dra. Elena Martí. Sin derrame.", {})
    result = translate_report(named, translator(endpoint), TranslationCache(tmp_path))
    assert "personal data" in result.problems[0]
    assert endpoint.asked == []


def test_an_empty_report_costs_nothing(endpoint: Endpoint, tmp_path: Path) -> None:
    assert translate_report(Anonymised(" ", {}), translator(endpoint), TranslationCache(tmp_path)).text == ""
    assert endpoint.asked == []


def test_the_key_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        OpenAITranslator(endpoint.url, "m")
    endpoint.answers = [said(RIGHT)]
    assert OpenAITranslator(endpoint.url, "m", key_variable="")(REPORT) == RIGHT
    assert "authorization" not in endpoint.headers[0]
    with pytest.raises(UserError, match="http"):
        OpenAITranslator("file:///etc", "m", key_variable="")


def test_a_broken_cache_file_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    cache, made = TranslationCache(tmp_path), translator(endpoint)
    path = cache.path(REPORT.text, made.identity)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(UserError, match=path.name):
        translate_report(REPORT, made, cache)


def test_glossary_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "terms.csv"
    path.write_text("nódulo,nodule\n\nmasa\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 3"):
        read_glossary(path)
    with pytest.raises(UserError, match=r"none\.csv"):
        read_glossary(tmp_path / "none.csv")
