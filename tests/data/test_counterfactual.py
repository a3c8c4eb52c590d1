"""Reports with one thing changed: by hand in both languages, invariants, and the phantom's planted facts."""

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.data.counterfactual.changes import CHANGE_KINDS, Change, changed_reports, guess_language
from bimcvr.data.counterfactual.language_rules import FINDING_SYNONYMS
from bimcvr.data.text.sentences import split_sentences
from bimcvr.errors import UserError
from bimcvr.phantom.cohort.studies import PhantomStudy, plan_patient
from bimcvr.phantom.reports.findings import FINDING_KINDS as PLANTED


def changed(report: str, kind: str, language: str, finding: str = "") -> str | None:
    """The text of one change, or None if there is none."""
    wordings = {finding: FINDING_SYNONYMS.get(finding, (finding,))} if finding else ()
    texts = [
        change.text
        for change in changed_reports(report, language, wordings)
        if (change.kind, change.finding) == (kind, finding)
    ]
    assert len(texts) <= 1
    return texts[0] if texts else None


ENGLISH_SIDES = [
    ("There is a right pleural effusion.", "There is a left pleural effusion."),
    ("Left lung mass. Right-sided pneumothorax.", "Right lung mass. Left-sided pneumothorax."),
    ("RIGHT EFFUSION", "LEFT EFFUSION"),
    ("Nodule in the RUL. Consolidation of the LLL.", "Nodule in the LUL. Consolidation of the RLL."),
    ("Nodule in the RML.", "Nodule in the lingula."),
    ("Collapse of the right middle lobe.", "Collapse of the lingula."),
    ("Opacity in the lingula.", "Opacity in the right middle lobe."),
    ("Lingular consolidation.", "Right middle lobe consolidation."),
    ("There is dextroscoliosis.", "There is levoscoliosis."),
    ("Nodule in the right\nmiddle lobe.", "Nodule in the lingula."),
    ("Right effusion without left pneumothorax.", "Left effusion without left pneumothorax."),
    ("No left effusion. A mass is seen on the right.", "No left effusion. A mass is seen on the left."),
    ("No left effusion, but there is a right mass.", "No left effusion, but there is a left mass."),
    ("Bilateral effusions, right greater than left.", "Bilateral effusions, left greater than right."),
    ("There is a right effusion. There is a left effusion.", None),
    ("There is a right effusion. There is a right mass. There is a left effusion. There is a left mass.", None),
    ("Right and left pleural effusions are present.", None),
    ("No right pleural effusion.", None),
    ("Right middle and lower lobe atelectasis.", "Lingula and left lower lobe atelectasis."),
    ("Linear opacities in the right middle lobe and lingula.", None),
    ("Nodule in the right lung middle lobe.", "Nodule in the left lung lingula."),
    ("Nodule in the left lung upper lobe lingular segment.", "Nodule in the right lung middle lobe."),
    ("The right lung is clear.", None),
    ("In the left lung, no nodule is seen.", None),
    ("Call right away. The tube was left in place. A bright spot.", None),
    ("Calcified left anterior descending artery.", None),
    ("Clinical history: right breast cancer.", None),
]
SPANISH_SIDES = [
    ("Derrame pleural derecho.", "Derrame pleural izquierdo."),
    (
        "Nódulos en las bases izquierdas y masa hiliar derecha.",
        "Nódulos en las bases derechas y masa hiliar izquierda.",
    ),
    ("Masa en el lóbulo medio.", "Masa en la língula."),
    ("Atelectasia del lóbulo medio derecho.", "Atelectasia de la língula."),
    ("Atelectasia de la língula.", "Atelectasia del lóbulo medio."),
    ("Opacidad en el lobulo medio.", "Opacidad en la língula."),
    ("Nódulo en LSD y bronquiectasias en LII.", "Nódulo en LSI y bronquiectasias en LID."),
    ("Masa en LM.", "Masa en língula."),
    ("Neumotórax dcho.", "Neumotórax izdo."),
    ("Derrame pleural derecho sin neumotórax izquierdo.", "Derrame pleural izquierdo sin neumotórax izquierdo."),
    ("No se observa derrame derecho.", None),
    ("Derrame pleural bilateral.", None),
    ("Hilio derecho normal.", None),
]
NEGATED = [
    ("en", "There is a small right pleural effusion.", "There is no right pleural effusion."),
    ("en", "There are multiple nodules in both lungs.", "There are no nodules in both lungs."),
    ("en", "There is a hiatal hernia of 40 mm.", "There is no hiatal hernia."),
    (
        "en",
        "A solid nodule of 25 mm is seen in the left upper lobe.",
        "No solid nodule is seen in the left upper lobe.",
    ),
    ("en", "Pleural fluid is seen on the right.", "No pleural fluid is seen on the right."),
    ("en", "Bullae and mild diffuse emphysema are present.", "No bullae or emphysema are present."),
    ("en", "The heart shows mild enlargement.", "The heart shows no enlargement."),
    ("en", "The heart is enlarged.", "The heart is not enlarged."),
    ("en", "The ascending aorta is dilated to 50 mm.", "The ascending aorta is not dilated."),
    ("en", "Enlarged subcarinal lymph nodes reach 40 mm in size.", "There are no enlarged subcarinal lymph nodes."),
    ("en", "A small amount of free air lies in the left pleural space.", "No free air lies in the left pleural space."),
    ("en", "Lungs: Mild emphysema.", "Lungs: No emphysema."),
    ("en", "Unchanged mild cardiomegaly.", "No cardiomegaly."),
    ("en", "mild cardiomegaly.", "no cardiomegaly."),
    (
        "en",
        "Part of the stomach has herniated through the hiatus.",
        "Part of the stomach has not herniated through the hiatus.",
    ),
    (
        "en",
        "In the lung window; there are small nodules in both lungs.",
        "In the lung window; there are no nodules in both lungs.",
    ),
    ("en", "No effusion. Clinical correlation is recommended. The trachea is patent.", None),
    ("es", "Se observa un derrame pleural derecho.", "No se observa derrame pleural derecho."),
    ("es", "Existe cardiomegalia.", "No existe cardiomegalia."),
    ("es", "La TC muestra una pequeña cantidad de líquido pleural.", "La TC no muestra líquido pleural."),
    ("es", "TAC torácica, apreciándose nódulos pulmonares.", "TAC torácica, no apreciándose nódulos pulmonares."),
    ("es", "Leve derrame pleural izquierdo.", "No hay derrame pleural izquierdo."),
    ("es", "Sin otros hallazgos. Resto normal.", None),
]
AFFIRMED = [
    ("en", "No pneumothorax.", "Pneumothorax."),
    ("en", "There is no mass in the lungs.", "There is a mass in the lungs."),
    ("en", "There are no enlarged lymph nodes.", "There are enlarged lymph nodes."),
    ("en", "There is no evidence of pneumothorax.", "There is evidence of pneumothorax."),
    ("en", "No evidence of atelectasis.", "Evidence of atelectasis."),
    ("en", "No suspicious pulmonary mass is identified.", "A suspicious pulmonary mass is identified."),
    ("en", "No emphysema or bullae.", "Emphysema and bullae."),
    ("en", "Pleural spaces without abnormalities.", "Pleural spaces with abnormalities."),
    ("en", "The pleural spaces are free of fluid.", "The pleural spaces contain fluid."),
    ("en", "The aorta shows no calcified plaques.", "The aorta shows calcified plaques."),
    ("en", "The oesophagus is not dilated.", "The oesophagus is dilated."),
    ("en", "Pericardial effusion was not observed.", "Pericardial effusion was observed."),
    ("en", "Lungs: no nodules.", "Lungs: nodules."),
    ("en", "No other relevant findings. No significant change. The gallbladder is not included.", None),
    ("es", "No se observa derrame pleural.", "Se observa derrame pleural."),
    ("es", "No hay neumotórax ni derrame.", "Hay neumotórax y derrame."),
    ("es", "Sin adenopatías.", "Con adenopatías."),
    ("es", "Masa renal, sin evidenciarse metástasis.", "Masa renal, evidenciándose metástasis."),
    ("es", "Ausencia de derrame pleural.", "Presencia de derrame pleural."),
    ("es", "No se aprecia ningún nódulo.", "Se aprecia algún nódulo."),
    ("es", "Sin cambios. Sin otros hallazgos. Se realiza sin contraste.", None),
]
SIZES = [
    ("en", "A nodule of 8 mm is seen.", "A nodule of 20 mm is seen."),
    ("en", "A 2 cm nodule is seen.", "A 5 cm nodule is seen."),
    ("en", "A mass of 4.5 cm is seen.", "A mass of 1.8 cm is seen."),
    ("en", "A nodule of 12 x 8 mm is seen.", "A nodule of 30 x 20 mm is seen."),
    ("en", "A mass of 3 cm x 2 cm is seen.", "A mass of 1 cm x 1 cm is seen."),
    ("en", "There is a large effusion.", "There is a small effusion."),
    ("en", "Mild cardiomegaly.", "Severe cardiomegaly."),
    ("en", "An incomplete collapse is seen.", "A complete collapse is seen."),
    ("en", "The heart is slightly enlarged.", "The heart is markedly enlarged."),
    ("en", "Moderate to severe emphysema.", "Minimal emphysema."),
    ("en", "No nodules above 5 mm. Small bowel loops. Axial slices of 5 mm. Nodes less than 10 mm.", None),
    ("en", "Scattered nodules are not seen. Sub-5 mm nodules and cysts too small to characterize.", None),
    ("es", "Nódulo de 1,5 cm.", "Nódulo de 3,8 cm."),
    ("es", "Masa de 70x45x40mm.", "Masa de 28x18x16mm."),
    ("es", "Se observa un pequeño derrame.", "Se observa un gran derrame."),
    ("es", "Nódulo pequeño en la base.", "Nódulo grande en la base."),
    ("es", "Gran masa mediastínica.", "Pequeña masa mediastínica."),
    ("es", "Nódulos de gran tamaño.", "Nódulos de pequeño tamaño."),
    ("es", "Pequeñas adenopatías.", "Grandes adenopatías."),
    ("es", "Cardiomegalia severa.", "Cardiomegalia leve."),
    ("es", "Mínima atelectasia.", "Masiva atelectasia."),
    ("es", "Adenopatías menores de 1 cm. Grandes vasos de calibre normal.", None),
]
LOBES = [
    ("en", "Nodule in the right upper lobe.", "Nodule in the right lower lobe."),
    ("en", "Nodule in the right middle lobe.", "Nodule in the right lower lobe."),
    ("en", "Nodule in the right lung middle lobe.", "Nodule in the right lung lower lobe."),
    ("en", "Opacity in the lingula.", "Opacity in the left lower lobe."),
    ("en", "Mass in the LLL.", "Mass in the LUL."),
    ("en", "Emphysema in the upper and lower lobes. No mass in the left upper lobe.", None),
    ("es", "Nódulo en el lóbulo superior izquierdo.", "Nódulo en el lóbulo inferior izquierdo."),
    ("es", "Masa en el lóbulo medio.", "Masa en el lóbulo inferior derecho."),
    ("es", "Atelectasia de la língula.", "Atelectasia del lóbulo inferior izquierdo."),
    ("es", "Masa en el lóbulo superior izquierdo (LSI).", None),
    ("es", "Nódulo en LSD.", "Nódulo en LID."),
]


@pytest.mark.parametrize(
    ("kind", "language", "report", "expected"),
    [
        *[("side", "en", *case) for case in ENGLISH_SIDES],
        *[("side", "es", *case) for case in SPANISH_SIDES],
        *[("negated", *case) for case in NEGATED],
        *[("affirmed", *case) for case in AFFIRMED],
        *[("size", *case) for case in SIZES],
        *[("lobe", *case) for case in LOBES],
    ],
)
def test_by_hand(kind: str, language: str, report: str, expected: str | None) -> None:
    assert changed(report, kind, language) == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            "Free fluid lies in the left pleural space. Left lung mass.",
            "Free fluid lies in the right pleural space. Left lung mass.",
        ),
        (
            "A small collection of fluid lies in the right pleural space.",
            "A small collection of fluid lies in the left pleural space.",
        ),
        (
            "Pleural fluid is seen on the right. No left pleural effusion.",
            "Pleural fluid is seen on the left. No left pleural effusion.",
        ),
        ("Pleural effusions, larger in the LLL.", "Pleural effusions, larger in the RLL."),
        ("Right pleural effusion. Free fluid lies in the left pleural space.", None),
        ("Bilateral pleural effusion, larger on the right.", None),
        ("A pleural effusion is seen. Right lung mass.", None),
        ("The right pleural effusion has resolved.", None),
        ("Pleural effusions on the right (3; 188) and the left (3; 353).", None),
    ],
)
def test_one_findings_side(report: str, expected: str | None) -> None:
    assert changed(report, "side", "en", "pleural effusion") == expected


def test_findings_by_name_and_by_words_in_any_order() -> None:
    report = "Masas hiliares derechas. Líquido en el espacio PLEURAL izquierdo. Masivo nódulo derecho."
    assert {change.finding for change in changed_reports(report, "es", ["masa", "nodulo", "espacio"])} == {
        "",
        "masa",
        "nodulo",
        "espacio",
    }
    wordings = {"fluid": ["pleural+liquido"], "none": [], "x": ["mas"]}
    changes = {change.finding: change.text for change in changed_reports(report, "es", wordings)}
    assert changes["fluid"] == report.replace("izquierdo", "derecho")
    assert not {"none", "x"} & set(changes)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("No pleural effusion.", "en"),
        ("Derrame pleural derecho.", "es"),
        ("Sin derrame pleural ni neumotórax.", "es"),
        ("", "en"),
        ("There is a nodule in the right lower lobe.", "en"),
        ("Masa en el lóbulo superior derecho, de 4 cm.", "es"),
        ("Cardiomegalia leve. No se aprecian adenopatias.", "es"),
        ("Mild cardiomegaly", "en"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert guess_language(text) == language


def test_another_language_is_refused() -> None:
    with pytest.raises(UserError, match="'fr'"):
        changed_reports("Épanchement pleural droit.", "fr")


# ---------------------------------------------------------------- invariants

WORDS = [
    "right",
    "left",
    "Right",
    "LEFT",
    "right-sided",
    "RUL",
    "LUL",
    "RLL",
    "LLL",
    "nodule",
    "mass",
    "effusion",
    "is",
    "seen",
    "There",
    "no",
    "without",
    "12 mm",
    "1.5 cm",
    "small",
    "an",
    "upper lobe",
    "lingula",
    "bilateral",
    "and",
    "3 x 4 cm",
    "No",
    "derecho",
    "sin",
    "Se observa",
    "leve",
    "lóbulo medio",
    "pequeña",
    "gran",
    "x",
    ".",
    ",",
    ";",
    ":",
    "\n",
    "-",
    "(",
    "é",
    "{x}",
    "1.",
    "5",
]
reports = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)
languages = st.sampled_from(["en", "es", ""])


@settings(deadline=None)
@given(reports | st.text(max_size=40), languages)
def test_changes_differ_and_repeat(report: str, language: str) -> None:
    changes = changed_reports(report, language, ["nodule", "mass"])
    assert changes == changed_reports(report, language, ["nodule", "mass"])
    assert all(change.text != report for change in changes)
    assert all(change.kind in CHANGE_KINDS for change in changes)
    assert len({(change.kind, change.finding) for change in changes}) == len(changes)


SWAPS = {"right": "left", "Right": "Left", "RIGHT": "LEFT", "right-sided": "left-sided", "RUL": "LUL", "RLL": "LLL"}
SWAPS |= {new: old for old, new in SWAPS.items()}
plain = st.sampled_from([*SWAPS, "nodule", "effusion", "seen", "the", "12 mm", ".\n", ";", "  "])


@settings(deadline=None)
@given(st.lists(plain, max_size=20))
def test_swapping_sides_is_word_by_word_and_its_own_inverse(words: list[str]) -> None:
    report = "\t".join(words)
    text = changed(report, "side", "en")
    if text is not None:
        assert text == "\t".join(SWAPS.get(word, word) for word in words)
        assert changed(text, "side", "en") == report
    else:  # nothing is sided, or both sides say the same
        swapped = "\t".join(SWAPS.get(word, word) for word in words)
        assert sorted(map(str.lower, split_sentences(swapped))) == sorted(map(str.lower, split_sentences(report)))


# ---------------------------------------------------------------- the phantom's reports


@pytest.fixture(scope="module")
def studies() -> list[PhantomStudy]:
    return [study for patient in range(300) for study in plan_patient(4, patient)]


@pytest.fixture(scope="module")
def changes(studies: list[PhantomStudy]) -> list[list[Change]]:
    return [changed_reports(study.report, "", FINDING_SYNONYMS) for study in studies]


def different(study: PhantomStudy, change: Change) -> Iterator[tuple[str, str]]:
    old, new = (re.split(r"(?<=\.) ", text) for text in (study.report, change.text))
    return ((a, b) for a, b in zip(old, new, strict=True) if a != b)


def test_every_kind_is_found_where_the_facts_have_it(studies: list[PhantomStudy], changes: list[list[Change]]) -> None:
    wanted = {
        "side": [any(fact.side for fact in study.facts) for study in studies],
        "lobe": [any(fact.lobe for fact in study.facts) for study in studies],
        "size": [any(fact.size for fact in study.facts) for study in studies],
        "negated": [bool(study.facts) for study in studies],
        "affirmed": [True] * len(studies),
    }
    for kind, needed in wanted.items():
        found = [any((change.kind, change.finding) == (kind, "") for change in several) for several in changes]
        assert sum(f and n for f, n in zip(found, needed, strict=True)) >= 0.95 * sum(needed), kind
        if kind == "side":
            assert not any(f and not n for f, n in zip(found, needed, strict=True))


def test_one_sentence_changes_unless_sides_are_swapped(
    studies: list[PhantomStudy], changes: list[list[Change]]
) -> None:
    for study, several in zip(studies, changes, strict=True):
        for change in several:
            pairs = list(different(study, change))
            assert pairs, change
            assert len(pairs) == 1 or change.kind == "side", change
            for old, new in pairs:
                assert "  " not in new
                assert new[0].isupper()
                assert new.endswith(".")
                assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]|\bno an? |\bno no\b", new), new
                assert (re.search(r"\b[Nn]ot?\b", new) is None) == (change.kind != "negated"), (old, new)
                assert (re.search(r"\b(?:[Nn]ot?|without|free of)\b", old) is None) == (change.kind != "affirmed"), (
                    old,
                    new,
                )


def test_one_sided_findings_are_swapped_alone(studies: list[PhantomStudy], changes: list[list[Change]]) -> None:
    effusions = 0
    for study, several in zip(studies, changes, strict=True):
        swapped = {change.finding: change for change in several if change.kind == "side" and change.finding}
        for name in PLANTED:
            facts = [fact for fact in study.facts if fact.finding == name]
            sides = {fact.side for fact in facts} - {""}
            assert (name in swapped) == (len(sides) == 1), (name, study.report)
            if len(sides) != 1:
                continue
            effusions += name == "pleural effusion"
            pairs = list(different(study, swapped[name]))
            assert len(pairs) == sum(1 for fact in facts if fact.side)
            for old, new in pairs:
                (side,) = sides
                assert re.search(rf"\b{side}\b", old) or "middle" in old
                assert not re.search(rf"\b{side}\b", new)
                assert len(re.findall(r"\b(?:left|right|lingula)\b", new)) == 1
    assert effusions > 25


# ---------------------------------------------------------------- real reports


def test_real_text() -> None:
    folder = os.environ.get("BIMCVR_REAL_DATA")
    if not folder:
        pytest.skip("BIMCVR_REAL_DATA is not set: no real reports to change")
    with (Path(folder) / "text_es_meddocan/chest_ct_sentences_es.tsv").open(encoding="utf-8") as file:
        spanish = [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    english = [
        (Path(folder) / "text_en_samples" / name).read_text()
        for name in ("merlin_demo_abdomen_ct_report.txt", "negbio_00000086.txt", "negbio_00019248.txt")
    ]
    assert [guess_language(text) for text in spanish] == ["es"] * len(spanish)
    assert [guess_language(text) for text in english] == ["en"] * len(english)
    several = [changed_reports(text, "", FINDING_SYNONYMS) for text in spanish + english]
    assert sum(map(bool, several)) > 0.6 * len(several)
    assert all(
        change.text != text for text, changes in zip(spanish + english, several, strict=True) for change in changes
    )
