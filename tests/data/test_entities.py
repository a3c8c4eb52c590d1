"""HTML entities in reports are decoded, with the positions of what they stood for."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.curation.study import SourceStudy
from bimcvr.data.text.entities import decode_entities, decode_with_positions


@pytest.mark.parametrize(("text", "decoded"), [
    ("P&eacute;rez", "Pérez"),
    ("neumot&#243;rax, n&#xF3;dulo", "neumotórax, nódulo"),
    ("12&#47;05&#47;2020", "12/05/2020"),
    ("5&nbsp;mm &lt; 6", "5 mm < 6"),
    ("&amp;eacute; &amp;amp;ntilde;", "é ñ"),
    ("R&D, A & B, &notaname; &nothing", "R&D, A & B, &notaname; &nothing"),
    ("NEUMOT&OACUTE;RAX", "NEUMOTÓRAX"),
    ("&amp;", "&"),
    ("", ""),
])  # fmt: skip
def test_what_is_decoded(text: str, decoded: str) -> None:
    assert decode_entities(text) == decoded


@given(st.lists(st.sampled_from(["&eacute;", "&amp;", "&#47;", "amp;", "&", ";", "a", " ", "lt;"])).map("".join))
def test_positions_rise_and_a_second_pass_changes_nothing(text: str) -> None:
    decoded, positions = decode_with_positions(text)
    assert len(positions) == len(decoded) + 1
    assert positions == sorted(positions)
    assert positions[-1] == len(text)
    assert decode_entities(decoded) == decoded


def test_a_source_hands_over_decoded_reports() -> None:
    study = SourceStudy("s", Path("v.nii"), "Neumot&oacute;rax", translation="Pneumothorax &lt; 5&nbsp;mm")
    assert (study.report, study.translation) == ("Neumotórax", "Pneumothorax < 5 mm")


def test_text_without_entities_is_the_same_object() -> None:
    text = "Derrame pleural."
    assert decode_entities(text) is text
