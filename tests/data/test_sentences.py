"""Cutting reports into sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.data.text.sentences import split_sentences


@pytest.mark.parametrize(
    ("report", "sentences"),
    [
        ("A nodule of 1.5 cm. No effusion.", ["A nodule of 1.5 cm.", "No effusion."]),
        ("A nodule of 5 mm. in the left lobe. Heart normal.", ["A nodule of 5 mm. in the left lobe.", "Heart normal."]),
        (
            "Seen by Dr. Smith. No change vs. the CT of J. Doe.",
            ["Seen by Dr. Smith.", "No change vs. the CT of J. Doe."],
        ),
        (
            "Findings, e.g. a cyst (approx. 2 cm), are stable! Is it benign? Yes.",
            ["Findings, e.g. a cyst (approx. 2 cm), are stable!", "Is it benign?", "Yes."],
        ),
        (
            "lungs are clear . no pleural effusion . normal heart .",
            ["lungs are clear .", "no pleural effusion .", "normal heart ."],
        ),
        (
            "derrame pleural derecho. no se observan adenopatías. resto normal",
            ["derrame pleural derecho.", "no se observan adenopatías.", "resto normal"],
        ),
        (
            "A pericardial cyst.Liver: Normal. Spleen: Normal.",
            ["A pericardial cyst.", "Liver: Normal.", "Spleen: Normal."],
        ),
        (
            "heart and mediastinum are\nstable. air- filled cystic changes. no\npneumothorax.",
            ["heart and mediastinum are stable.", "air- filled cystic changes.", "no pneumothorax."],
        ),
        ("Lungs: clear\nHeart: normal\n\nno effusion", ["Lungs: clear", "Heart: normal", "no effusion"]),
        (
            "- no effusion\n- nodule in segment 2.\n1. mass\n2) cyst",
            ["no effusion", "nodule in segment 2.", "mass", "cyst"],
        ),
        ("1. Lungs: clear. 2. Heart: normal.", ["Lungs: clear.", "Heart: normal."]),
        ("Stable since image 25. Series 3 is unchanged.", ["Stable since image 25.", "Series 3 is unchanged."]),
        ("scoliosis is\nunchanged\nimpression: stable", ["scoliosis is unchanged", "impression: stable"]),
        ("-----\nNormal.\n*****", ["Normal."]),
        ("large right pleural effusion", ["large right pleural effusion"]),
        ("12.5", ["12.5"]),
        ("", [""]),
    ],
)
def test_known_reports(report: str, sentences: list[str]) -> None:
    assert split_sentences(report) == sentences


@given(st.text("abcD .!?\n\t-1(),:é", max_size=80))
def test_no_word_is_lost_or_added(text: str) -> None:
    letters = [letter for letter in text if letter.isalpha()]
    assert [letter for letter in "".join(split_sentences(text)) if letter.isalpha()] == letters
    assert len(split_sentences(text)) >= 1


@given(
    st.lists(st.sampled_from(["Large right effusion.", "No nodules.", "Heart, 4.5 cm wide, is normal."]), min_size=1)
)
def test_sentences_joined_by_blanks_or_breaks_come_back(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences)) == sentences
    assert split_sentences("\r\n".join(sentences)) == sentences
