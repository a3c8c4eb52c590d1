"""The review queue: nothing of people's is overwritten, formulas are disarmed, mistakes are named by line."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.curation.review.queue import (
    Question,
    Review,
    append_questions,
    read_reviews,
    reviewed_labels,
    settle,
)
from bimcvr.curation.review.queue_file import COLUMNS
from bimcvr.errors import UserError

HEADER = ",".join(COLUMNS)
A = Question("s1", "negations: 1 became 0", "Effusion is seen.")
B = Question("s2", "untranslated", '- Nódulo,\n"de" 8 mm; =SUM(A1)')


def queue(tmp_path: Path, *lines: str, header: str = HEADER) -> Path:
    path = tmp_path / "review.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_questions_come_back_unchanged_and_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "review.csv"
    assert append_questions(path, [A, B, A]) == 2
    assert [review.question for review in read_reviews(path)] == [A, B]
    before = path.read_bytes()
    assert append_questions(path, [B, A]) == 0
    assert path.read_bytes() == before


def test_an_empty_queue_has_its_header(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    assert read_reviews(path) == []
    assert append_questions(path, []) == 0
    assert path.read_text(encoding="utf-8-sig") == HEADER + "\n"


@pytest.mark.parametrize(
    "text", ["=1+1", "+34 600", "- Nódulo", "@cmd", "\t=1", "'=1", "''", "'tis", "'", "=cmd|' /C calc'!A0", "plain"]
)
def test_formulas_are_disarmed_and_read_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "review.csv"
    append_questions(path, [Question("s1", text, text)])
    cells = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))[1]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert read_reviews(path)[0].question == Question("s1", text, text)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=20)), max_size=5))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]) -> None:
    printable = [
        (
            f"s{number}",
            "".join(c for c in reason if c.isprintable()),
            "".join(c for c in report if c != "\x00" and not 0xD800 <= ord(c) < 0xE000),
        )
        for number, (reason, report) in enumerate(texts)
    ]
    path = tmp_path_factory.mktemp("queue") / "review.csv"
    questions = [Question(*each) for each in printable]
    append_questions(path, questions[:2])
    append_questions(path, questions)
    assert [review.question for review in read_reviews(path)] == questions


def test_what_people_wrote_stays_byte_for_byte(tmp_path: Path) -> None:
    """A Spanish spreadsheet's file: semicolons, CRLF, other order, a column of their own, no line end at the end."""
    content = (
        "\ufeffreviewer;study_id;reason;report;decision;corrected;labels;notes\r\n"
        'ana ;s1;negations: 1 became 0;Effusion is seen.;Correct;"No effusion;\r\nnone ";none;"mira ""esto"""\r\n'
        "  ;;;;;;;"
    ).encode()
    path = tmp_path / "review.csv"
    path.write_bytes(content)
    assert append_questions(path, [A, B]) == 1
    after = path.read_bytes()
    assert after.startswith(content)
    first, second = read_reviews(path)
    assert (first.decision, first.corrected, first.labels, first.reviewer) == (
        "correct",
        "No effusion;\r\nnone ",
        frozenset(),
        "ana",
    )
    assert second.question == B
    assert after[len(content) :].count(b"\r\n") == 2


def test_a_save_in_between_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = queue(tmp_path)
    saved = f"{HEADER}\ns9,,,accept,,,eva\n"
    monkeypatch.setattr("bimcvr.curation.review.queue_file.os.fsync", lambda _: path.write_text(saved))
    with pytest.raises(UserError, match="saved by another program"):
        append_questions(path, [A])
    assert path.read_text() == saved
    assert [child.name for child in tmp_path.iterdir()] == ["review.csv"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("s1,r,t,acept,,,ana", "the decision 'acept' is unknown"),
        ("s7,r,t,accept,,,ana", "no study 's7'"),
        ("s1,r,t,correct,,,ana", "no corrected text"),
        ("s1,r,t,accept,better,,ana", "a corrected text"),
        ("s1,r,t,,better,,ana", "no decision"),
        ("s1,r,t,,,nodule,ana", "no decision"),
        ("s1,r,t,accept,,,", "no reviewer"),
        ("s1,r,t,accept,,,ana,,more", "9 cells"),
        ('s1,r,"t" x,accept,,,ana', "cannot be read"),
    ],
)
def test_mistakes_are_named_by_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    path = queue(tmp_path, 's1,r,"two\nlines",,,,', row)
    with pytest.raises(UserError) as caught:
        read_reviews(path, {"s1"})
    assert said in str(caught.value)
    assert f"{path}, line 4" in str(caught.value)


def test_files_that_are_no_queue(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column reason"):
        read_reviews(queue(tmp_path, header="study_id,report,decision,corrected,labels,reviewer"))
    path = tmp_path / "latin.csv"
    path.write_bytes(f"{HEADER}\ns1,señal,t,,,,\n".encode("cp1252"))
    with pytest.raises(UserError, match="CSV UTF-8"):
        append_questions(path, [A])


def rows(*answers: str, question: Question = A) -> list[Review]:
    """Answers as `reviewer:decision:corrected:labels`."""
    found = []
    for line, answer in enumerate(answers, 2):
        who, decision, corrected, labels = (answer + ":::").split(":")[:4]
        stated = frozenset(labels.split(";")) - {"none"} if labels else None
        found.append(Review(question, decision, corrected, stated, who, line))
    return found


@pytest.mark.parametrize(
    ("answers", "decision", "corrected"),
    [
        (["ana"], "", ""),
        (["ana:accept"], "accept", ""),
        (["ana:accept", "eva:reject"], "", ""),
        (["ana:accept", "eva:reject", "leo:reject"], "reject", ""),
        (["ana:correct:no fluid"], "correct", "no fluid"),
        (["ana:correct:a", "eva:correct:b"], "", ""),
        (["ana:correct:a", "eva:correct:b", "leo:correct:b"], "correct", "b"),
        (["ana:accept", ""], "accept", ""),
    ],
)
def test_the_majority_decides_and_a_draw_stays_open(answers: list[str], decision: str, corrected: str) -> None:
    verdict = settle(rows(*answers), {"s1": A.report})["s1"]
    assert (verdict.decision, verdict.corrected) == (decision, corrected)


def test_a_study_with_two_questions() -> None:
    other = Question("s1", "wrong_modality", A.report)
    reports = {"s1": A.report}
    assert settle(rows("ana:accept") + rows("", question=other), reports)["s1"].decision == ""
    assert settle(rows("ana:accept") + rows("ana:reject", question=other), reports)["s1"].decision == "reject"
    assert settle(rows("ana:correct:x") + rows("ana:accept", question=other), reports)["s1"].decision == "correct"


def test_an_answer_about_an_older_text_does_not_count(tmp_path: Path) -> None:
    assert settle(rows("ana:accept"), {"s1": "Another translation."}) == {}
    assert settle(rows("ana:accept"), {"s1": "Effusion  is\r\nseen."})["s1"].decision == "accept"
    path = tmp_path / "review.csv"
    append_questions(path, [A])
    assert append_questions(path, [Question("s1", A.reason, "Another translation.")]) == 1  # so it is asked again


def test_experts_labels_override_extracted_ones() -> None:
    verdict = settle(rows("ana:accept::nodule;mass", "eva:accept::nodule", "leo:accept"), {"s1": A.report})["s1"]
    assert reviewed_labels(verdict, ["effusion"], "rules") == (("nodule",), "expert")
    assert reviewed_labels(settle(rows("ana:accept::none"), {"s1": A.report})["s1"], ["effusion"], "rules") == (
        (),
        "expert",
    )
    assert reviewed_labels(settle(rows("ana:accept"), {"s1": A.report})["s1"], ["effusion"], "rules") == (
        ("effusion",),
        "rules",
    )
    assert reviewed_labels(None, ["effusion"], "archive") == (("effusion",), "archive")
