"""The shares that the anonymiser must reach, on real and surrogate Spanish text (BIMCVR_REAL_DATA).

`-s` shows the 50 commonest.
"""

import json
import os
import re
from pathlib import Path

import pytest

from bimcvr.curation.anonymise.anonymiser import Anonymiser

DATA = Path(os.environ.get("BIMCVR_REAL_DATA", "/nonexistent"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "text_es_meddocan").is_dir(), reason="BIMCVR_REAL_DATA does not name a folder with text_es_meddocan"
    ),
]

HEADER = re.compile(
    r"^\W*(Datos del paciente|Datos asistenciales|Nombre|Apellidos|NHC|CIPA?|NASS|Domicilio|Localidad/"
    r" ?[Pp]rovincia|CP|"
    r"Fecha de nacimiento|País|Edad|Sexo|Fecha de Ingreso|M[ée]dico|Servicio|Episodio|Especialidad|NºCol)\b"
)
FIELDS = (
    r"^\W*Nombre:\s*(.+?)\s*\.?\s*$",
    r"^\W*Apellidos:\s*(.+?)\s*\.?\s*$",
    r"\bNHC:\s*(.+?)\s*\.?\s*$",
    r"^\W*NASS:\s*(.+?)\s*\.?\s*$",
    r"^\W*Domicilio:\s*(.+?)\s*\.*\s*$",
    r"^\W*CP:\s*(.+?)\s*\.?\s*$",
    r"^\W*M[ée]dico:\s*(.+?)\s*(?:N[ºo°] ?Col.*)?\.*\s*$",
    r"N[ºo°] ?Col\w*\.?:?\s*(.+?)\s*\.?\s*$",
    r"^\W*Fecha de \w+:\s*(\S+?)\.?\s*$",
)
ANYWHERE = (
    r"[^\s:]+@\S*\w",
    r"\b\d{1,2}[/-]\d{1,2}[/-](?:19|20)\d\d\b",
    r"(?i)\b(?:tel[eé]?f?o?n?o?|tfno|tlfn?o?|tlf|fax|m[oó]vil)\b\.?\s*(?:y Fax)?[.:]*\s*(\+?\d[\d ()/-]{6,}\d)",
)


def personal(text: str) -> set[str]:
    """The values of the header's fields, the telephones, e-mails and dates of a case."""
    found = {match[1].strip() for line in text.split("\n") for field in FIELDS if (match := re.search(field, line))}
    found |= {value for pattern in ANYWHERE for value in re.findall(pattern, text)}
    # some cases leave a field empty, and one has a department in place of a name
    return {
        value
        for value in found
        if re.search(r"[0-9A-Za-zÁÉÍÓÚ]{2}", value) and not re.match(r"N[ºo°] ?Col|Cirugía", value)
    }


def inside(value: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


@pytest.fixture(scope="module")
def cases() -> list[str]:
    lines = (DATA / "text_es_meddocan" / "meddocan_cases.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


@pytest.mark.parametrize(("cut", "limit"), [(False, 0.005), (True, 0.02)])
def test_personal_data_of_the_500_cases(cases: list[str], cut: bool, limit: float) -> None:
    anonymise = Anonymiser()
    values = values_left = words = words_left = 0
    for case in cases:
        text = "\n".join(line for line in case.split("\n") if not HEADER.match(line)) if cut else case
        result = anonymise(text).text
        for value in personal(case):
            present = inside(value, text)
            values += present
            values_left += present and inside(value, result)
            for word in (
                re.findall(r"[^\W\d_]{4,}", value) if value[0].isupper() and not re.search(r"\d", value) else []
            ):
                words += inside(word, text)
                words_left += inside(word, text) and inside(word, result)
    print(
        f"header {'cut' if cut else 'kept'}: values left {values_left}/{values} = {values_left / values:.2%}, "
        f"words of names left {words_left}/{words} = {words_left / words:.2%}"
    )
    assert values > 1000
    assert values_left / values <= limit
    assert words_left / words <= limit


def test_words_of_clinical_text_stay() -> None:
    """Words are runs of letters; NUBes' own surrogate hospitals, doctors and dates count as touched.

    Though they are rightly so.
    """
    nubes = [path.read_text() for path in sorted((DATA / "text_es_nubes").glob("*/*.txt"))]
    table = (DATA / "text_es_meddocan" / "chest_ct_sentences_es.tsv").read_text().splitlines()[1:]
    for name, texts in (("nubes", nubes), ("chest CT sentences", [line.split("\t", 1)[1] for line in table])):
        total = touched = 0
        for text in texts:
            spans = Anonymiser().spans(text)
            for word in re.finditer(r"[^\W\d_]+", text):
                total += 1
                touched += any(span.start < word.end() and word.start() < span.stop for span in spans)
        print(f"{name}: touched {touched}/{total} = {touched / total:.2%}")
        assert total > 5000
        assert touched / total <= 0.01


def test_reports_with_marks_are_not_damaged() -> None:
    anonymise = Anonymiser()
    for path in sorted((DATA / "text_es_dismed" / "sr").glob("*.txt")):
        text = path.read_text()
        unmarked = re.sub(r"<(NAME|FECHA|NUM|DIR|INST|LOC)>[^<\n]*</\1>", " ", text)
        result = anonymise(text).text
        assert not re.search(r"</?(NAME|FECHA|NUM|DIR|INST|LOC)>", result)
        kept = re.findall(r"[^\W\d_]{3,}", re.sub(r"\[[A-Z]+\]", " ", result))
        wanted = re.findall(r"[^\W\d_]{3,}", unmarked)
        lost = set(wanted) - set(kept)
        assert len(lost) <= 0.02 * len(wanted), lost
        # the same text without its marks: what was marked goes all the same
        marked = re.findall(r"<(?:NAME|NUM)>([^<\n]{4,})</", text)
        bare = anonymise(re.sub(r"</?[A-Z]+>", "", text)).text
        left = [word for word in marked if inside(word, bare)]
        print(path.name, f"marked names and numbers left {len(left)}/{len(marked)}", f"words lost {len(lost)}")
        assert len(left) <= 0.1 * len(marked), left
