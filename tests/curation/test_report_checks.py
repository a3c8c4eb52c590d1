"""Reports that are no reports, not translated, of a chest film, or somebody else's.

And real text that is none of it.
"""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.curation.audit.report_checks import check_report, check_reports, film_wording, spanish_share
from bimcvr.curation.text.lexicons import words
from bimcvr.data.manifest import REPORT_FLAGS, Manifest
from bimcvr.phantom.cohort.studies import plan_patient

REAL = Path(os.environ.get("BIMCVR_REAL_DATA", ""))
with_real_data = pytest.mark.skipif(
    not os.environ.get("BIMCVR_REAL_DATA"), reason="BIMCVR_REAL_DATA names no folder of real text"
)

FILMS = (
    "PA and lateral chest radiograph. The cardiac silhouette is normal. No consolidation.",
    "rx de torax pa y lateral sin hallazgos patologicos significativos",
    "Radiografía de tórax en dos proyecciones. Índice cardiotorácico normal.",
    "placa de torax portatil con aumento de densidad en base derecha",
    "senos costofrenicos libres silueta cardiaca de tamano normal no se observan infiltrados",
    "comparado con rx de torax previa de ayer persiste infiltrado en lsd proyeccion ap portatil",
    "Portable upright view of the chest. No pneumothorax. Consider CT for further evaluation.",
    "rx torax infiltrados intersticiales bilaterales se recomienda tc de torax para completar estudio",
    "bedside radiograph of the chest compared to the previous film, endotracheal tube above the carina",
    "CXR shows right lower lobe consolidation.",
)
TOMOGRAMS = (
    "CT of the chest without contrast. A nodule of 6 mm. Compared with chest radiograph of 2019.",
    "tc de torax sin contraste se compara con rx previa nodulo pulmonar",
    "paciente con nodulo visto en rx de torax se realiza tac toracico con civ",
    "Ground-glass opacities in both lower lobes, subcarinal lymph nodes of 12 mm, small right effusion.",
    "Small right pleural effusion. The heart is enlarged. Coronary calcification. Degenerative spine.",
    "Opacity seen in the recent radiograph corresponds to a nodule of 12 mm in the lingula.",
    "aumento de tamano de adenopatias paratraqueales respecto a la tc previa",
)
FAILED = (
    "Something wrong with the data! #################",
    "Error: 429 Too Many Requests",
    "I'm sorry, I cannot translate this text.",
    "As an AI language model, I need the text of the report first.",
    "nan",
    "N/A",
    "Translation failed",
    "No se ha podido traducir el texto.",
    "Please provide the Spanish report you want me to translate.",
    "HTTP 503 Service Unavailable",
    "informe no disponible",
)


def flags_of(report: str, language: str = "en", original: str = "") -> set[str]:
    return {finding.flag for finding in check_report("s", report, language, original)}


def manifest_of(**columns: list[str]) -> Manifest:
    count = len(columns["report"])
    base = {"study_id": [f"s{i}" for i in range(count)], "volume": [f"v{i}.nii" for i in range(count)]}
    return Manifest(pd.DataFrame({**base, **columns}, dtype=str), Path("m.csv"), Path("."))


def found_in(manifest: Manifest) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in check_reports(manifest):
        assert finding.flag.startswith(REPORT_FLAGS)
        found.setdefault(finding.study_id, set()).add(finding.flag)
    return found


@pytest.mark.parametrize("report", FILMS)
def test_a_film_s_report_is_told(report: str) -> None:
    assert "wrong_modality" in flags_of(report, "")


@pytest.mark.parametrize("report", TOMOGRAMS)
def test_a_tomogram_s_report_is_left_alone(report: str) -> None:
    assert flags_of(report, "") == set()


@pytest.mark.parametrize("report", FAILED)
def test_a_failure_message_is_a_placeholder(report: str) -> None:
    assert flags_of(report) == {"placeholder"}


@pytest.mark.parametrize(
    ("report", "short"),
    [
        ("", True),
        ("  -- . \n", True),
        ("Chest CT.", True),
        ("No nodules, no effusion.", True),
        ("No nodules and no effusion.", False),
        ("1 . 2 ; 3 - 4 !", True),
    ],
)
def test_fewer_than_five_words_are_no_report(report: str, short: bool) -> None:
    assert flags_of(report) == ({"report_short"} if short else set())


@given(st.lists(st.text("abcxyz-'", min_size=1), max_size=12))
def test_words_are_what_holds_a_letter(parts: list[str]) -> None:
    found = words(" ".join(parts))
    assert len(found) <= sum(1 for part in parts for _ in re.findall(r"[a-z]+", part))
    assert all(any(letter.isalnum() for letter in word) for word in found)
    assert bool(found) == any(letter.isalpha() for part in parts for letter in part)


def test_where_the_translation_failed_the_original_tells_the_modality() -> None:
    assert flags_of(FAILED[0], "en", FILMS[1]) == {"placeholder", "wrong_modality"}
    assert flags_of(FAILED[0], "en", TOMOGRAMS[1]) == {"placeholder"}


def test_spanish_left_in_an_english_text() -> None:
    spanish = "Se observa derrame pleural derecho de pequeña cuantía con atelectasia pasiva de la base del pulmón"
    assert flags_of(spanish, "en") == {"untranslated"}
    assert flags_of(spanish, "es") == set()
    english = "Small right pleural effusion with passive atelectasis of the base of the lung, en bloc, per se, de novo."
    assert flags_of(english, "en") == set()


def test_phantom_reports_bear_no_flag() -> None:
    assert [
        study.report for patient in range(300) for study in plan_patient(4, patient) if flags_of(study.report)
    ] == []


def test_evidence_never_quotes_a_report() -> None:
    name = "Doña Remedios Quintanilla"
    for report in (f"{name} rx de torax pa y lateral con derrame pleural derecho", f"{name} translation failed", name):
        for finding in check_report("s", report, "en"):
            assert "Remedios" not in finding.evidence


TEXTS = ("The lungs are clear and the heart is of normal size.", "There is a nodule of 8 mm in the left upper lobe.")


def test_one_text_under_several_patients() -> None:
    same = TEXTS[0].upper().replace(".", " !")
    manifest = manifest_of(
        report=[TEXTS[0], same, TEXTS[1], TEXTS[1], "Chest CT.", "Chest CT."], patient_id=["a", "b", "c", "c", "d", "e"]
    )
    assert found_in(manifest) == {
        "s0": {"duplicate_report"},
        "s1": {"duplicate_report"},
        "s4": {"report_short"},
        "s5": {"report_short"},
    }
    # without patients nobody can say that it is not one examination
    assert found_in(manifest_of(report=[TEXTS[0], TEXTS[0]])) == {}


def test_one_text_that_does_not_speak_of_the_body() -> None:
    manifest = manifest_of(report=["Awaiting the final version from the author"] * 3, patient_id=["a", "b", "c"])
    assert found_in(manifest) == {f"s{row}": {"placeholder"} for row in range(3)}


def test_one_translation_of_several_originals() -> None:
    columns = {"report": [TEXTS[0]] * 3, "patient_id": ["a", "b", "c"]}
    assert set(found_in(manifest_of(**columns, report_original=["uno", "dos", "tres"]))["s0"]) == {"placeholder"}
    assert set(found_in(manifest_of(**columns, report_original=["uno", "uno", "uno"]))["s0"]) == {"duplicate_report"}


def test_ids_of_the_file_name_against_the_table() -> None:
    name = "CT1/ct/sub-S03047_ses-E07985_run-1_bp-chest_ct.nii.gz"
    cases = [
        (name, "sub-S03047", "ses-E07985"),
        (name, "S03047", "E07985"),
        (name, "sub-S09999", "ses-E07985"),
        (name, "sub-S03047", "ses-E00001"),
        (name, "patient 12", ""),
        ("a/b.nii", "sub-S1", "ses-E1"),
        ("sub-S1/ses-E2/scan.nii", "sub-S2", ""),
        ("sub-P0001_ses-1_run-2.nii", "sub-P0001", "sub-P0001_ses-1"),
    ]
    volumes, patients, sessions = (list(column) for column in zip(*cases, strict=True))
    texts = [f"{TEXTS[0]} Number {row}." for row in range(len(cases))]
    manifest = manifest_of(report=texts, patient_id=patients, report_id=sessions).with_column("volume", volumes)
    assert set(found_in(manifest)) == {"s2", "s3", "s6"}
    # the archive's own name goes before the file's present one
    moved = manifest.with_column("file_patient_id", ["sub-S00001"] + [""] * (len(cases) - 1))
    assert "s0" in found_in(moved)


def test_a_borrowed_report_is_told_by_the_file_names() -> None:
    manifest = manifest_of(report=[TEXTS[0]] * 2, patient_id=["sub-S1"] * 2, report_id=["ses-E1"] * 2).with_column(
        "volume", ["sub-S1_ses-E1_ct.nii", "sub-S2_ses-E2_ct.nii"]
    )
    assert found_in(manifest) == {"s0": {"duplicate_report"}, "s1": {"duplicate_report", "mismatch_ids"}}


@with_real_data
def test_spanish_words_of_grammar_in_real_text() -> None:
    folder = REAL / "text_es_nubes"
    lines = [line.strip() for file in folder.rglob("*.txt") for line in file.read_text(encoding="utf-8").splitlines()]
    sentences = (REAL / "text_es_meddocan/chest_ct_sentences_es.tsv").read_text(encoding="utf-8").splitlines()[1:]
    spanish = [line for line in lines + [line.split("\t")[1] for line in sentences] if len(words(line)) >= 20]
    assert len(spanish) > 1000
    assert sum("untranslated" in flags_of(line, "en") for line in spanish) / len(spanish) > 0.97
    captions = [
        row
        for file in (REAL / "text_en_3dmir/3DMIR_labels").glob("*.csv")
        for row in file.read_text(encoding="utf-8").splitlines()
    ]
    terms = [
        json.loads(line)
        for line in (REAL / "vocab_findingmodels/finding_terms.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    english = captions + [" ".join(str(value) for value in term.values() if isinstance(value, str)) for term in terms]
    assert len(english) > 2500
    assert not [text for text in english if spanish_share(text)[1] >= 2]


@with_real_data
def test_real_sentences_that_name_ct_are_no_film_s() -> None:
    sentences = (REAL / "text_es_meddocan/chest_ct_sentences_es.tsv").read_text(encoding="utf-8").splitlines()[1:]
    named = [line.split("\t")[1] for line in sentences if re.search(r"\b(TC|TAC)\b", line)]
    assert len(named) > 80
    assert [film_wording(line) for line in named if film_wording(line)] == []
    assert film_wording((REAL / "text_en_samples/negbio_00000086.txt").read_text(encoding="utf-8"))
    assert not film_wording((REAL / "text_en_samples/merlin_demo_abdomen_ct_report.txt").read_text(encoding="utf-8"))
