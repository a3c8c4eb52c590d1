"""Labels of reports: cases typed by hand in both languages, and what must hold of every text."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.curation.labels.extractor import NORMAL, LabelExtractor, Mention
from bimcvr.curation.labels.keyword_library import read_library

EXTRACTOR = LabelExtractor()
SIGNS = {"+": "present", "-": "absent", "?": "uncertain", "h": "history"}

# a text, and its findings: + present, - absent, ? uncertain, h history
CASES = [
    ("No pleural effusion.", "pleural effusion:-"),
    ("No pleural effusion, pneumothorax or consolidation.", "pleural effusion:-; pneumothorax:-; consolidation:-"),
    ("There is no evidence of pulmonary embolism.", "pulmonary embolism:-"),
    ("Without pericardial effusion or adenopathy.", "pericardial effusion:-; adenopathy:-"),
    ("No nodules, but there is a small right pleural effusion.", "nodule:-; pleural effusion:+"),
    ("No pneumothorax; bilateral pleural effusions.", "pneumothorax:-; pleural effusion:+"),
    ("No effusion. Cardiomegaly.", "pleural effusion:-; cardiomegaly:+"),
    ("Pleural effusion is not seen.", "pleural effusion:-"),
    ("A pneumothorax is not identified on this study.", "pneumothorax:-"),
    ("Lymphadenopathy: none.", "adenopathy:-"),
    ("Pulmonary embolism has been ruled out.", "pulmonary embolism:-"),
    ("The previously seen consolidation has resolved.", "consolidation:-"),
    ("Resolution of the ground-glass opacities.", "ground glass pattern:-"),
    ("The pleural spaces are free of fluid.", "pleural effusion:-"),
    ("Lungs are free of consolidation or nodules.", "consolidation:-; nodule:-"),
    ("Negative for pulmonary embolism.", "pulmonary embolism:-"),
    ("Neither pleural nor pericardial effusion.", "pleural effusion:-; pericardial effusion:-"),
    ("Absence of adenopathy.", "adenopathy:-"),
    ("Cardiomegaly without overt edema.", "cardiomegaly:+; pulmonary edema:-"),
    ("The heart is not enlarged.", "cardiomegaly:-"),
    ("Emphysema is present, no nodules.", "emphysema:+; nodule:-"),
    ("No change in the nodule of the left upper lobe.", "nodule:+"),
    ("No significant change of the pleural effusion.", "pleural effusion:+"),
    ("CT without contrast shows a hiatal hernia.", "hiatal hernia:+"),
    ("Not only atelectasis but also pleural effusion.", "atelectasis:+; pleural effusion:+"),
    ("No definite consolidation.", "consolidation:-"),
    ("Right nodule, which was not present before.", "nodule:+"),
    ("No suspicious pulmonary nodules.", "nodule:-"),
    ("No consolidation suggestive of pneumonia.", "consolidation:-; pneumonia:-"),
    ("Atelectasis rather than pneumonia.", "atelectasis:+; pneumonia:-"),
    ("No pleural effusion and there is a nodule in the lingula.", "pleural effusion:-; nodule:+"),
    ("No pleural effusion, with a small hiatal hernia.", "pleural effusion:-; hiatal hernia:+"),
    ("Nodules are absent.", "nodule:-"),
    ("No effusion is seen although atelectasis persists.", "pleural effusion:-; atelectasis:+"),
    ("Possible pneumonia.", "pneumonia:?"),
    ("Findings suspicious for lung cancer.", "lung cancer:?"),
    ("Opacity that may represent atelectasis or consolidation.", "increased density:+; atelectasis:?; consolidation:?"),
    ("Pneumonia cannot be excluded.", "pneumonia:?"),
    ("We cannot exclude pulmonary embolism.", "pulmonary embolism:?"),
    ("Pulmonary embolism is not excluded.", "pulmonary embolism:?"),
    ("Probable pneumonia, pleural effusion.", "pneumonia:?; pleural effusion:+"),
    ("Atelectasis versus consolidation.", "atelectasis:?; consolidation:?"),
    ("Ground glass opacities suggesting viral pneumonia.", "ground glass pattern:+; viral pneumonia:?"),
    ("Consolidation consistent with pneumonia.", "consolidation:+; pneumonia:+"),
    ("History of tuberculosis.", "tuberculosis:h"),
    ("No history of tuberculosis.", "tuberculosis:-"),
    ("Indication: rule out pulmonary embolism.", "pulmonary embolism:?"),
    ("Clinical history: pneumonia. Small pleural effusion.", "pneumonia:h; pleural effusion:+"),
    ("Prior pneumonia; now a nodule.", "pneumonia:h; nodule:+"),
    ("Compared with the prior study, the nodule has grown.", "nodule:+"),
    ("Enlarged mediastinal lymph nodes.", "adenopathy:+"),
    ("Bibasilar atelectases and scattered opacities.", "atelectasis basal:+; increased density:+"),
    ("Calcified granulomas in the right apex.", "calcified granuloma:+"),
    ("Linear atelectasis of the lingula.", "laminar atelectasis:+"),
    ("The left lower lobe is collapsed.", "atelectasis:+"),
    ("Vertebral collapse of T8.", "vertebral compression:+"),
    ("Fluid is seen in the right pleural cavity.", "pleural effusion:+"),
    ("Gas within the left pleural space.", "pneumothorax:+"),
    ("The bronchi of both lower lobes are dilated.", "bronchiectasis:+"),
    ("Mass effect on the trachea.", ""),
    ("Pleural and pericardial effusion.", "pleural effusion:+; pericardial effusion:+"),
    ("Normal heart, enlarged lymph nodes.", "adenopathy:+"),
    ("A nodule of 4.5 mm with haemothorax.", "nodule:+; hemothorax:+"),
    ("COVID-19 pneumonia with crazy-paving.", "covid 19:+; pneumonia:+; crazy paving pattern:+"),
    ("Sin derrame pleural ni neumotórax.", "pleural effusion:-; pneumothorax:-"),
    (
        "No se observa derrame pleural, neumotórax ni condensaciones.",
        "pleural effusion:-; pneumothorax:-; consolidation:-",
    ),
    ("No hay adenopatías mediastínicas, pero sí un nódulo pulmonar.", "adenopathy:-; nodule:+"),
    ("Ausencia de derrame pericárdico.", "pericardial effusion:-"),
    ("Derrame pleural: no.", "pleural effusion:-"),
    ("No se puede descartar tromboembolismo pulmonar.", "pulmonary embolism:?"),
    ("Se descarta tromboembolismo pulmonar.", "pulmonary embolism:-"),
    ("A descartar neumonía.", "pneumonia:?"),
    ("Posible neumonía en lóbulo inferior derecho.", "pneumonia:?"),
    ("Hallazgos sugestivos de neumonía por covid-19.", "pneumonia:?; covid 19:?"),
    ("Podría corresponder a una atelectasia.", "atelectasis:?"),
    ("Antecedentes de tuberculosis.", "tuberculosis:h"),
    ("Sin antecedentes de tuberculosis.", "tuberculosis:-"),
    ("Sin cambios en el nódulo del lóbulo superior izquierdo.", "nodule:+"),
    ("TC sin contraste: opacidades en vidrio deslustrado bilaterales.", "ground glass pattern:+"),
    ("Ha desaparecido el derrame pleural.", "pleural effusion:-"),
    ("No derrame pleural. Cardiomegalia.", "pleural effusion:-; cardiomegaly:+"),
    ("Cardiomegalia sin derrame pleural.", "cardiomegaly:+; pleural effusion:-"),
    ("Derrame pleural y pericárdico.", "pleural effusion:+; pericardial effusion:+"),
    ("Bronquiectasias cilíndricas y enfisema centrolobulillar.", "bronchiectasis:+; emphysema:+"),
    ("Ganglios mediastínicos aumentados de tamaño.", "adenopathy:+"),
    ("Tampoco se aprecian adenopatías.", "adenopathy:-"),
    ("Aunque no hay derrame, persiste la atelectasia laminar.", "pleural effusion:-; laminar atelectasis:+"),
    ("Niega neumonía.", "pneumonia:-"),
    ("Sin embargo, existe derrame pleural.", "pleural effusion:+"),
    ("Múltiples nódulos pulmonares sugestivos de metástasis.", "multiple nodules:+; metastasis:?"),
    ("Parénquima pulmonar sin nódulos ni masas, con enfisema paraseptal.", "nodule:-; mass:-; emphysema:+"),
    ("Fracturas costales antiguas.", "rib fracture:+"),
    ("No se identifican imágenes sugestivas de metástasis.", "metastasis:-"),
    ("no se observa derrame pleural ni pericardico", "pleural effusion:-; pericardial effusion:-"),
    (
        "patron en vidrio deslustrado bilateral compatible con neumonia covid19",
        "ground glass pattern:+; pneumonia:+; covid 19:+",
    ),
    ("cardiomegalia no se observa derrame pleural", "cardiomegaly:+; pleural effusion:-"),
    ("nodulo pulmonar en lsd no se observan adenopatias", "nodule:+; adenopathy:-"),
    ("sin derrame pleural se observa nodulo en lingula", "pleural effusion:-; nodule:+"),
    ("atelectasias laminares bibasales sin condensaciones", "laminar atelectasis:+; consolidation:-"),
    (
        "opacidades en vidrio deslustrado sin poder descartar neumonia viral",
        "ground glass pattern:+; viral pneumonia:?",
    ),
    ("calcificaciones coronarias y ateromatosis aortica", "coronary artery calcification:+; aortic atheromatosis:+"),
    ("antecedentes neumonia previa actualmente sin condensaciones", "pneumonia:h; consolidation:-"),
    # what the triggers must not do
    ("Small nodule, likely a granuloma.", "nodule:+; granuloma:?"),
    ("The previously seen nodule is unchanged.", "nodule:+"),
    ("No cardiomegaly, small pleural effusion.", "cardiomegaly:-; pleural effusion:+"),
    ("No cardiomegalia, discreto derrame pleural.", "cardiomegaly:-; pleural effusion:+"),
    ("Neumonía descartada.", "pneumonia:-"),
    ("Descartada neumonía.", "pneumonia:-"),
    ("CT to exclude pulmonary embolism.", "pulmonary embolism:?"),
    ("Pneumonia is suspected.", "pneumonia:?"),
    ("Linfoma no Hodgkin con adenopatías.", "adenopathy:+"),
    ("Fibrosis retroperitoneal.", ""),
    ("No se observaron lesiones focales hepáticas sugerentes de metástasis.", "metastasis:-"),
    ("Bronquiectasias cilíndricas con engrosamiento de la língula.", "bronchiectasis:+"),
    ("No effusion, possible pneumonia.", "pleural effusion:-; pneumonia:?"),
    ("Masa en páncreas, no pudiendo diferenciarse si se trata de una adenopatía.", "mass:+; adenopathy:?"),
    ("Ascending aorta with aneurysmal dilatation of 52 mm.", "aortic aneurysm:+; ascendent aortic elongation:+"),
    ("Calcification of the wall of the aortic arch.", "aortic atheromatosis:+"),
    # a denied change, and a partial resolution, deny nothing; a change that names a finding does
    ("No interval change in size of the nodule or new pleural effusion.", "nodule:+; pleural effusion:-"),
    ("Sin cambios respecto al derrame pleural previo.", "pleural effusion:+"),
    ("No se observan cambios sugestivos de neumonía.", "pneumonia:-"),
    ("No enlargement of mediastinal lymph nodes.", "adenopathy:-"),
    ("Complete resolution of the consolidation.", "consolidation:-"),
    ("Near complete resolution of the consolidation.", "consolidation:+"),
    # a denied exclusion
    ("No nodules, and pneumonia cannot be confidently excluded.", "nodule:-; pneumonia:?"),
    ("Sin que se pueda descartar con seguridad metástasis.", "metastasis:?"),
    # headings and their answers
    ("Nodules, masses: none seen.", "nodule:-; mass:-"),
    ("Pleural effusion: small. Pneumothorax: no.", "pleural effusion:+; pneumothorax:-"),
    ("Neumotórax: no, derrame pleural: sí.", "pneumothorax:-; pleural effusion:+"),
    ("Pulmonary embolism: no filling defect.", "pulmonary embolism:-"),
    ("Nódulos: No se observan nódulos.", "nodule:-"),
    ("Pleural effusion? No.", "pleural effusion:-"),
    ("Nodule: no change.", "nodule:+"),
    ("Consolidation (-), nodule (+), adenopathy (none).", "consolidation:-; nodule:+; adenopathy:-"),
    # questions
    ("Opacidad, ¿neumonía o atelectasia?", "increased density:+; pneumonia:?; atelectasis:?"),
    ("Is there effusion, nodule or mass?", "pleural effusion:?; nodule:?; mass:?"),
    ("?pneumothorax, small nodule.", "pneumothorax:?; nodule:+"),
    # other people
    ("Hermana con EPOC; presenta nódulo.", "COPD signs:h; nodule:+"),
    ("Status post right pneumothorax.", "pneumothorax:h"),
    # short forms and HTML entities
    ("Emphysema w/o nodules, CT w/o contrast.", "emphysema:+; nodule:-"),
    ("TC s/c, s/ derrame pleural.", "pleural effusion:-"),
    ("There aren’t nodules; the effusion hasn't resolved.", "nodule:-; pleural effusion:+"),
    ("No neumot&oacute;rax.", "pneumothorax:-"),
    ("Sense nòduls.", "nodule:-"),
    # absent before, so present now; absent now, whatever was before
    ("Nodule not identified on the previous CT.", "nodule:+"),
    ("The nodule was absent on the prior study.", "nodule:+"),
    ("Derrame pleural no presente previamente.", "pleural effusion:+"),
    ("Nódulo ausente en el estudio previo.", "nodule:+"),
    ("The nodule is no longer seen compared with the previous CT.", "nodule:-"),
    ("Pneumothorax was ruled out on the prior CT.", "pneumothorax:-"),
    ("Nodule not seen on the current or previous study.", "nodule:-"),
    # what is known, and what it has not
    ("No cavitation of the known nodule.", "cavitation:-; nodule:+"),
    ("No evidence of known emphysema.", "emphysema:-"),
    ("No difference in size of the nodule.", "nodule:+"),
    ("The nodule is not calcified.", "nodule:+"),
    ("Los nódulos no están calcificados.", "nodule:+"),
    ("The heart is not enlarged.", "cardiomegaly:-"),
    # other ways to deny and to doubt
    ("The study failed to identify a pulmonary embolism.", "pulmonary embolism:-"),
    ("Lungs are free from nodules.", "nodule:-"),
    ("Nothing to suggest pneumonia.", "pneumonia:-"),
    ("Inconsistent with pneumonia.", "pneumonia:-"),
    ("A nodule could not be identified.", "nodule:-"),
    ("Nada que sugiera neumonía.", "pneumonia:-"),
    ("I doubt pneumonia.", "pneumonia:?"),
    ("There is little doubt that this is emphysema.", "emphysema:+"),
    ("Pneumonia is the leading consideration.", "pneumonia:?"),
    ("Riesgo de neumotórax.", "pneumothorax:?"),
    ("Sin poder asegurar neumonía.", "pneumonia:?"),
    # Catalan words of findings
    ("No hi ha vessament pleural ni pneumotòrax.", "pleural effusion:-; pneumothorax:-"),
    ("Vessament pleural sense canvis.", "pleural effusion:+"),
    ("Tampoc hi ha emfisema.", "emphysema:-"),
    ("S'ha descartat pneumònia.", "pneumonia:-"),
    ("Sospita de pneumònia.", "pneumonia:?"),
    ("Pare amb tuberculosi.", "tuberculosis:h"),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_what_a_report_asserts(text: str, expected: str) -> None:
    parts = [part.strip().rsplit(":", 1) for part in expected.split(";") if part.strip()]
    found = {(mention.label, mention.assertion) for mention in EXTRACTOR(text) if mention.label != NORMAL}
    assert found == {(label, SIGNS[sign]) for label, sign in parts}


SENTENCES = [text for text, _ in CASES if text.endswith(".") and ":" not in text]


@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_sentences_does_not_matter(sentences: list[str], order: random.Random) -> None:
    shuffled = list(sentences)
    order.shuffle(shuffled)
    assert EXTRACTOR.labels(" ".join(shuffled)) == EXTRACTOR.labels(" ".join(sentences))


@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4))
def test_case_and_accents_do_not_matter(sentences: list[str]) -> None:
    text = " ".join(sentences)
    plain = "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))
    said = [(mention.label, mention.assertion) for mention in EXTRACTOR(text)]
    for other in (plain, plain.lower(), text.upper(), unicodedata.normalize("NFD", text)):
        assert [(mention.label, mention.assertion) for mention in EXTRACTOR(other)] == said


PIECES = [*"\n.,;:()- ", "no", "sin", "nodule", "derrame", "pleural", "y", "3.5"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map(" ".join)))
def test_mentions_lie_on_whole_words_of_any_text(text: str) -> None:
    for mention in EXTRACTOR(text):
        assert 0 <= mention.start < mention.end <= len(text)
        assert text[mention.start].isalnum()
        assert not text[mention.start - 1 : mention.start].isalnum()
        assert not text[mention.end : mention.end + 1].isalnum()


@pytest.mark.parametrize("language", ["en", "es"])
def test_negating_a_sentence_flips_every_phrase_of_the_library(language: str) -> None:
    positive, negative = {"en": ("There is {}.", "There is no {}."), "es": ("Se observa {}.", "No se observa {}.")}[
        language
    ]
    count = 0
    for keyword in read_library().keywords.values():
        for phrase in getattr(keyword, language) if keyword.label != NORMAL else ():
            count += 1
            for template, assertion in ((positive, "present"), (negative, "absent")):
                text = template.format(phrase)
                mentions = EXTRACTOR(text, language)
                assert (keyword.label, assertion) in {(mention.label, mention.assertion) for mention in mentions}, text
    assert count > 250


def test_spans_are_the_words_of_the_report() -> None:
    report = "Small  RIGHT pleural\neffusion and ground-glass opacities."
    assert [report[mention.start : mention.end] for mention in EXTRACTOR(report)] == [
        "pleural\neffusion",
        "ground-glass opacities",
    ]
    assert EXTRACTOR("No nodules.") == [Mention("nodule", 3, 10, "absent")]
    encoded = "N&oacute;dulo y neumot&#243;rax."
    assert [encoded[mention.start : mention.end] for mention in EXTRACTOR(encoded)] == [
        "N&oacute;dulo",
        "neumot&#243;rax",
    ]


@pytest.mark.parametrize(("report", "labels"), [
    ("Normal chest CT.", (NORMAL,)),
    ("Estudio dentro de la normalidad.", (NORMAL,)),
    ("Lungs are clear. No pleural effusion.", (NORMAL,)),
    ("History of pneumonia. No acute findings.", (NORMAL,)),
    ("No significant abnormality except for a hiatal hernia.", ("hiatal hernia",)),
    ("Pneumonia cannot be excluded. No effusion.", ()),
    ("The study was done with contrast.", ()),
    ("", ()),
])  # fmt: skip
def test_normal_stands_alone(report: str, labels: tuple[str, ...]) -> None:
    assert EXTRACTOR.labels(report) == labels


def test_uncertain_findings_and_wider_ones_are_given_on_request() -> None:
    report = "Possible pneumonia. Laminar atelectasis."
    assert EXTRACTOR.labels(report) == ("laminar atelectasis",)
    assert EXTRACTOR.labels(report, uncertain=True) == ("laminar atelectasis", "pneumonia")
    assert EXTRACTOR.labels(report, parents=True) == ("atelectasis", "laminar atelectasis")


def test_a_language_searches_its_own_phrases() -> None:
    assert EXTRACTOR.labels("Derrame pleural.", "es") == ("pleural effusion",)
    assert EXTRACTOR.labels("Bilateral infiltrado.", "en") == ()
    assert EXTRACTOR.labels("Bilateral infiltrado.") == ("infiltrates",)
