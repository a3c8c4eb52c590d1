"""The keyword library's data, and how its phrases and patterns are found."""

import os
import re
from pathlib import Path

import pytest

from bimcvr.curation.labels.keyword_library import Keyword, KeywordLibrary, read_library
from bimcvr.curation.text.tokens import sentences, stem
from bimcvr.errors import UserError

LIBRARY = read_library()


def found(text: str, *keywords: Keyword) -> list[tuple[str, str]]:
    """The labels that a library finds in a sentence, with the words."""
    (sentence,) = sentences(text)
    places = KeywordLibrary(keywords).find(sentence)
    return [(place.label, text[sentence[place.first].start : sentence[place.last - 1].end]) for place in places]


def test_the_library_names_at_least_96_findings_in_both_languages() -> None:
    assert len(LIBRARY) >= 96
    assert all(keyword.en and keyword.es for keyword in LIBRARY.keywords.values())


def test_codes_have_their_systems_form() -> None:
    assert all(re.fullmatch(r"(C\d{7})?", keyword.umls) for keyword in LIBRARY.keywords.values())
    assert all(re.fullmatch(r"(RID\d+)?", keyword.radlex) for keyword in LIBRARY.keywords.values())


def test_no_phrase_names_two_findings() -> None:
    owner: dict[tuple[str, ...], str] = {}
    for keyword in LIBRARY.keywords.values():
        for phrase in (*keyword.en, *keyword.es):
            stems = tuple(word.stem for sentence in sentences(phrase) for word in sentence if not word.is_article)
            assert owner.setdefault(stems, keyword.label) == keyword.label, phrase


def test_ancestors_end() -> None:
    for label in LIBRARY.keywords:
        assert label not in LIBRARY.ancestors(label)
    assert LIBRARY.ancestors("ground glass pattern") == ("interstitial pattern", "infiltrates")


@pytest.mark.skipif(
    not os.environ.get("BIMCVR_REAL_DATA"), reason="BIMCVR_REAL_DATA names no folder with the PadChest tree"
)
def test_umls_codes_are_those_of_the_padchest_tree() -> None:
    tree = (Path(os.environ["BIMCVR_REAL_DATA"]) / "vocab_padchest_tree" / "trees_code.txt").read_text(encoding="utf-8")
    codes = set(re.findall(r"label: *(.+?) *\n\s*concept: *\((C\d+)\)", tree))
    ours = {(keyword.label, keyword.umls) for keyword in LIBRARY.keywords.values() if keyword.umls}
    assert len(ours) > 80
    assert ours <= codes


EFFUSION = Keyword("effusion", en=("effusion", "pleural effusion"), patterns=("fluid|derrame + pleur*",))
DILATED = Keyword("dilated", en=("dilatation of aorta",))
ANEURYSM = Keyword("aneurysm", patterns=("aneurysm* + aort*",))


@pytest.mark.parametrize(
    ("text", "keywords", "expected"),
    [
        ("left pleural effusions", (EFFUSION,), [("effusion", "pleural effusions")]),
        ("fluid lies in the pleural space", (EFFUSION,), [("effusion", "fluid lies in the pleural")]),
        ("fluid, pleural thickening", (EFFUSION,), []),
        ("fluid one two three four five six seven eight nine ten eleven pleural", (EFFUSION,), []),
        (
            "aneurysmal dilatation of the aorta",
            (DILATED, ANEURYSM),
            [("aneurysm", "aneurysmal dilatation of the aorta")],
        ),
        ("dilatation of the aorta", (DILATED, ANEURYSM), [("dilated", "dilatation of the aorta")]),
        ("an effusionlike shape", (EFFUSION,), []),
        ("joint effusion", (Keyword("effusion", en=("effusion",), unlike=("joint effusion",)),), []),
    ],
)
def test_phrases_and_patterns(text: str, keywords: tuple[Keyword, ...], expected: list[tuple[str, str]]) -> None:
    assert found(text, *keywords) == expected


def test_two_findings_share_a_noun() -> None:
    text = "derrame pleural y pericárdico"
    pleural, pericardial = (
        Keyword("pleural", es=("derrame pleural",)),
        Keyword("pericardial", patterns=("derrame + pericard*",)),
    )
    assert [label for label, _ in found(text, pleural, pericardial)] == ["pleural", "pericardial"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nodule: 3", "not a list"),
        ("- {en: [nodule]}", "has no label"),
        ("- {label: nodule}\n- {label: nodule}", "appears more than once"),
        ("- {label: nodule, synonyms: [x]}", "unknown fields"),
        ("- {label: nodule, parent: lump}", "parent 'lump'"),
        ("- {label: nodule, parent: nodule}", "one of its descendants"),
        ("- {label: a, parent: b}\n- {label: b, parent: a}", "one of its descendants"),
        ("- {label: nodule, en: nodule}", "not a list of phrases"),
        ("- {label: nodule, en: [no]}", "not a list of phrases"),
        ("- {label: nodule, es: ['...']}", "not a list of phrases"),
        ("- [", "cannot be read as YAML"),
    ],
)
def test_a_faulty_library_is_refused(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=error):
        read_library(path)


def test_a_missing_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no keyword library"):
        read_library(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("effusion", "effusions"),
        ("opacity", "opacities"),
        ("atelectasis", "atelectases"),
        ("mass", "masses"),
        ("bulla", "bullae"),
        ("nodulo", "nodulos"),
        ("consolidacion", "consolidaciones"),
        ("calcificado", "calcificadas"),
        ("masa", "masas"),
        ("node", "nodes"),
    ],
)
def test_stems_of_inflections_agree(one: str, many: str) -> None:
    assert stem(one) == stem(many)


@pytest.mark.parametrize(("one", "other"), [("masa", "mas"), ("mass", "mas"), ("pus", "pu"), ("hiato", "hiatal")])
def test_stems_of_other_words_differ(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two", 2),
        ("a nodule of 4.5 mm", 1),
        ("heart is\nstable", 1),
        ("heart\n\nlungs", 2),
        ("Heart: normal\nLungs: clear", 2),
        ("heart\n- lungs", 2),
        ("a; b! c?", 3),
        ("", 0),
        ("...", 0),
        ("heart\r\n\r\nlungs", 2),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(list(sentences(text))) == count
