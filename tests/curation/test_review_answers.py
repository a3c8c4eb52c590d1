"""Answers written into the queue's file: at once, one row's bytes only, and never over what somebody else wrote."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bimcvr.curation.review.answers import Answer, AnswerChanged, answer_of, write_answer
from bimcvr.curation.review.queue import Question, append_questions, read_reviews, settle
from bimcvr.curation.review.queue_file import COLUMNS, QueueFile
from bimcvr.errors import UserError

A = Question("s1", "untranslated", 'El "derrame",\n=SUM(A1)', "- Derrame")
B = Question("s2", "placeholder", "Something wrong with the data!")
NONE = Answer()
ACCEPT, REJECT = Answer("accept"), Answer("reject")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "review.csv"
    append_questions(path, [A, B])
    return path


def given(path: Path, question: Question, reviewer: str) -> Answer:
    return answer_of([review for review in read_reviews(path) if review.question == question], reviewer)


def test_an_answer_fills_the_questions_row_and_can_be_taken_back(path: Path) -> None:
    before = path.read_bytes()
    answer = Answer("correct", "Effusion,\nof 3 cm", frozenset({"nodule", "mass"}))
    write_answer(path, A, "Ana", answer, NONE)
    assert len(read_reviews(path)) == 2
    assert given(path, A, "Ana") == answer
    assert settle(read_reviews(path), {"s1": A.report})["s1"].labels == ("mass", "nodule")
    write_answer(path, A, "Ana", Answer("accept", labels=frozenset()), answer)
    assert read_reviews(path)[0].labels == frozenset()
    write_answer(path, A, "Ana", NONE, Answer("accept", labels=frozenset()))
    assert path.read_bytes() == before
    assert [child.name for child in path.parent.iterdir()] == ["review.csv"]


def test_a_second_reviewer_gets_a_copy_of_the_row(path: Path) -> None:
    write_answer(path, A, "Ana", ACCEPT, NONE)
    write_answer(path, A, "Eva", REJECT, NONE)
    assert (given(path, A, "Ana"), given(path, A, "Eva")) == (ACCEPT, REJECT)
    assert [review.question for review in read_reviews(path)] == [A, B, A]
    write_answer(path, A, "Eva", NONE, REJECT)
    write_answer(path, A, "Leo", ACCEPT, NONE)
    assert len(read_reviews(path)) == 3, "the row that Eva left is free"
    assert settle(read_reviews(path), {"s1": A.report})["s1"].reviewers == ("Ana", "Leo")


def test_all_other_bytes_stay(path: Path) -> None:
    """A Spanish spreadsheet's file: semicolons, CRLF, another order, a column of its own, no line end at the end."""
    content = (
        "\ufeffreviewer;study_id;reason;report;decision;corrected;labels;notes\r\n"
        'eva ;s2;placeholder;Something wrong with the data!;Reject;;;"mira ""esto"""\r\n'
        ';s1;untranslated;"El ""derrame"",\r\n=SUM(A1)";;;;nota\r\n'
        ";s3;placeholder;Otro;;;;"
    ).encode()
    path.write_bytes(content)
    write_answer(path, A, "Ana", ACCEPT, NONE)
    lines = path.read_bytes().split(b"\r\n")
    assert lines[:2] == content.split(b"\r\n")[:2]
    assert lines[2].startswith(b'"Ana";"s1"')
    assert lines[3].endswith(b'"accept";"";"";"nota"')
    assert lines[4] == b";s3;placeholder;Otro;;;;"
    write_answer(path, Question("s3", "placeholder", "Otro"), "Ana", REJECT, NONE)
    assert not path.read_bytes().endswith(b"\n")
    assert given(path, Question("s3", "placeholder", "Otro"), "Ana") == REJECT
    assert len(read_reviews(path)) == 3


def test_an_edit_of_the_same_answer_is_told_and_stays(path: Path) -> None:
    write_answer(path, A, "Ana", ACCEPT, NONE)
    path.write_text(path.read_text().replace('"accept"', '"reject"'))
    edited = path.read_bytes()
    with pytest.raises(AnswerChanged, match="not overwritten"):
        write_answer(path, A, "Ana", Answer("correct", "Better."), ACCEPT)
    assert path.read_bytes() == edited
    write_answer(path, A, "Ana", REJECT, ACCEPT)  # what the file has already is no conflict
    assert path.read_bytes() == edited


def test_a_save_at_the_moment_of_writing_is_not_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saves = 0

    def save(_: int) -> None:
        nonlocal saves
        saves += 1
        if saves == 1:
            head, rest = path.read_text(encoding="utf-8").split('"Something wrong with the data!"')
            path.write_text(f'{head}"Something wrong with the data!","reject","","","Eva",""\n', encoding="utf-8")
            assert rest.count("\n") == 1

    monkeypatch.setattr("bimcvr.curation.review.queue_file.os.fsync", save)
    write_answer(path, A, "Ana", ACCEPT, NONE)
    assert saves > 1
    assert (given(path, A, "Ana"), given(path, B, "Eva")) == (ACCEPT, REJECT)


def test_two_writers_take_turns(path: Path) -> None:
    """Two servers, or a server and a run of `curate`, lose nothing of each other's."""
    asked = [Question(f"n{number}", "untranslated", f"Texto {number}") for number in range(12)]
    append_questions(path, asked)

    def answer_all(reviewer: str) -> None:
        for number, question in enumerate(asked):
            write_answer(path, question, reviewer, ACCEPT, NONE)
            append_questions(path, [Question(f"{reviewer}{number}", "placeholder", "Texto")])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(answer_all, ["Ana", "Eva", "Leo"]))
    assert Counter(review.reviewer for review in read_reviews(path)) == {"Ana": 12, "Eva": 12, "Leo": 12, "": 38}


def test_a_file_that_is_always_saved_by_another_program_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bimcvr.curation.review.queue_file.os.fsync", lambda _: path.write_bytes(path.read_bytes() + b"\n")
    )
    with pytest.raises(UserError, match="saved by another program"):
        write_answer(path, A, "Ana", ACCEPT, NONE)
    assert given(path, A, "Ana") == NONE


def test_what_is_no_answer_is_refused(path: Path) -> None:
    for parts in (
        ("acept",),
        ("correct",),
        ("accept", "text"),
        ("", "", frozenset()),
        ("accept", "", frozenset({"a;b"})),
    ):
        with pytest.raises(UserError):
            Answer(*parts)
    for name in ("", " Ana"):
        with pytest.raises(UserError, match="name of the reviewer"):
            write_answer(path, A, name, ACCEPT, NONE)
    with pytest.raises(UserError, match="no longer in the review queue"):
        write_answer(path, Question("s9", "untranslated", "x"), "Ana", ACCEPT, NONE)


def test_a_reviewers_name_that_looks_like_a_formula_is_disarmed(path: Path) -> None:
    write_answer(path, A, "=cmd|' /C calc'!A0", ACCEPT, NONE)
    assert "\"'=cmd" in path.read_text(encoding="utf-8-sig")
    assert given(path, A, "=cmd|' /C calc'!A0") == ACCEPT


def test_old_queues_have_no_original(path: Path) -> None:
    path.write_text(f"{','.join(COLUMNS[:-1])}\ns1,untranslated,Texto,,,,\n")
    question = Question("s1", "untranslated", "Texto")
    write_answer(path, question, "Ana", ACCEPT, NONE)
    write_answer(path, question, "Eva", REJECT, NONE)
    assert [row.cells["decision"] for row in QueueFile.read(path).rows] == ["accept", "reject"]
