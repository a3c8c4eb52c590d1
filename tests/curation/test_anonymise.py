"""People leave the reports, medicine stays: fields, prose, signatures, both languages, idempotent."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimcvr.curation.anonymise.anonymiser import Anonymiser

anonymise = Anonymiser()

GONE = {
    "Dr. D. José M.ª Pérez y Dr. Ahmed El-Sayed": ("Pérez", "Sayed"),
    "Drs. Smith and Jones reviewed; DrPérez, Dr . Gil": ("Smith", "Jones", "Pérez", "Gil"),
    "Firma: A. Llopis\nResident: Wei Zhang\nEnfermera: Rosa Tortosa": ("Llopis", "Zhang", "Tortosa"),
    "Transcrito por: mlopez": ("mlopez",),
    "Acompañado por su hija Elena Tortosa. Hijo: Pablo.": ("Elena", "Tortosa", "Pablo"),
    "Pager 12345, juan.perez [at] gva.es, IP: 192.168.1.12.": ("12345", "juan", "192"),
    "UID 1.2.840.113619.2.55.3": ("113619",),
    "12·05·2020, 12MAY2020, estudio de 12-05, FN 12-5-50": ("05", "MAY", "12-5"),
    "Viene del H. Universitario La Paz, antes HU La Fe y Hosp. Gral. de Alicante": ("La Paz", "La Fe", "Alicante"),
    "Seen at Johns Hopkins, King's College Hospital and Memorial Sloan Kettering": ("Hopkins", "King", "Kettering"),
    "Paciente natural de Cullera, remitido desde Torrevieja": ("Cullera", "Torrevieja"),
    "Nombre: Ernesto. Apellidos: Rivera Bueno.": ("Ernesto", "Rivera"),
    "Nombre: maria del mar\nApellidos: lópez": ("maria", "lópez"),
    "NHC: 368503.\nNASS: 26 63514095 11.\nMRN: 1234567": ("368503", "63514095", "1234567"),
    "Domicilio: Calle Miguel Benitez 90, 2º dcha.\nCP: 28016.": ("Benitez", "28016"),
    "Fecha de nacimiento: 03/03/1946. Fecha de ingreso: 3-3-2019": ("03/03/1946", "3-3-2019"),
    "Médico: Gastón Demaría MartínezNºCol: 28 28 98702.": ("Demaría", "98702"),
    "TC del 12 de mayo de 2013, comparado con marzo de 2012 y 2013-05-01.": ("12 de mayo", "marzo", "05-01"),
    "Se comenta con la Dra. Soler y el Dr. López-Ibor.": ("Soler", "López", "Ibor"),
    "SE COMENTA CON EL DR. CAMPOS DE MEDICINA INTERNA": ("CAMPOS",),
    "VALORADO POR LA DRA. ETXEBERRIA GOMEZ REALIZANDO TAC A MARIA GARCIA POR DERRAME PLEURAL": (
        "ETXEBERRIA",
        "GOMEZ",
        "MARIA",
        "GARCIA",
    ),
    "Remitido por: M.ª Dolores Miranda Rollón. C/. Teodoro Cuesta, 13, 6.º B 33012 Oviedo.": (
        "Dolores",
        "Miranda",
        "Teodoro",
        "33012",
    ),
    "remitido por dr jose garcia perez del hospital general de castellon": ("jose", "garcia", "perez", "castellon"),
    "La paciente fue trasladada al Hospital Universitario 12 de Octubre desde otro centro.": ("12 de Octubre",),
    "Vive en Avda. de Burjassot 12, pta. 3, 46015 Valencia.": ("Burjassot", "46015"),
    "Remitido por: Dra. Elena Martí Toro. Xarxa Assistencial. c/ Joan Soler 1-3 08243 Manresa "
    "e-mail: emarti@althaia.cat": (
        "Elena",
        "Toro",
        "Xarxa",
        "Soler",
        "08243",
        "Manresa",
        "emarti",
    ),
    "Lopez Perez 1234321\nRM cerebral": ("Lopez", "1234321"),
    "Teléfono: 915 86 80 00 / 656352534. Fax 52 278 15. Llamar al 672631722": ("915", "656352534", "278", "672631722"),
    "DNI 12345678Z, SIP 1234567": ("12345678Z", "1234567"),
    "Antes del ingreso Hugo no había presentado fiebre. La madre de Paula. ": ("Hugo", "Paula"),
    "Patient: SMITH, JOHN A. DOB: 03/04/1956 MRN: 12345678": ("SMITH", "JOHN", "1956", "12345678"),
    "Referring physician: Dr. Emily Carter, MD. Mr. Jones was seen at St. Mary's Hospital.": (
        "Emily",
        "Carter",
        "Jones",
        "Mary",
    ),
    "Address: 12 Baker Street, Apt 4, Boston, MA 02118. Phone: (617) 555-0199": ("Baker", "Boston", "02118", "0199"),
    "Electronically signed by Robert Johnson, MD on March 5, 2019 at Massachusetts General Hospital": (
        "Robert",
        "Johnson",
        "March",
        "Massachusetts",
    ),
    "Comparison: CT from Jan 12, 2018. Accession #: A1234567": ("Jan 12", "A1234567"),
    # HTML entities, also those that were escaped twice
    "Dra. Nu&ntilde;ez informa. M&eacute;dico: Rosa G&amp;oacute;mez Sanz": ("ez informa", "mez", "Sanz"),
    "TC previo de 7&#47;11&#47;2019 y 3&nbsp;de&nbsp;junio&nbsp;de&nbsp;2018": ("11", "junio"),
    # dates with a name or a Roman number for the month, and without a year
    "TC del 7/junio/19 y del 8-jun-18, respecto a 9.ene.17.": ("junio", "jun", "ene"),
    "TC del 7-XI-2019, previo (3/IV/18), RM de VI/2017": ("XI", "IV", "VI"),
    "Comparado con TC de 21/09. CT of 09/21. Estudio de fecha 4/12.": ("21", "4/12"),
    # record numbers
    "HC: 778899. H.C. 778800, Hª Cl. 778811, Nº Hª Clínica: 778822, Nº HC 778833": (
        "778899",
        "778800",
        "778811",
        "778822",
        "778833",
    ),
    "Nº de paciente: 445566. Chart number: 445577": ("445566", "445577"),
    # all of a hospital's name
    "HOSPITAL UNIVERSITARI I POLITECNIC LA FE": ("FE",),
    "HOSPITAL RAMON Y CAJAL. Hospital Vall d'Hebron. Hospital Nuestra Señora del Rosell": ("CAJAL", "Hebron", "Rosell"),
    "HOSPITAL SANTA CREU I SANT PAU": ("PAU",),
    "Transferred from SPRINGFIELD GENERAL HOSPITAL": ("SPRINGFIELD",),
}

STAYS = [
    "Técnica: Adquisición Helicoidal Multidetector. Técnico: helicoidal. Contacto: Tuberculosis Pulmonar.",
    "Padre: Enfisema Pulmonar. Hijo sano. Mujer Caucásica natural de Ecuador, procedente de Urgencias.",
    "TC realizado por: Sospecha de TEP. Validado por: pendiente. Enfermera: avisada.",
    "CAP with effusion, 30 HU La lesión, control de 10-12 meses, ext 35 mm, segmentos 1.2.3, 12 mar",
    (
        "Linfoma de Hodgkin, enfermedad de Crohn, malformación de Arnold Chiari, enfermedad de Parkinson y nódulo de"
        " Virchow."
    ),
    "Swan-Ganz catheter in the right pulmonary artery. Kerley B lines. Bochdalek and Morgagni hernias. Ghon complex.",
    "Acuñamiento de T12 y L1, hernia discal L4-L5, nódulo de 1.5 x 2.3 cm y adenopatías de 10-15 mm; 5/10/15 mm.",
    "120 kV, 250 mA, serie 3, imagen 120/345, a las 13:45, plaquetas 206000, leucocitos 14.610/mm3, dosis 1-0-1.",
    "Rosa de Bengala positivo. Cisura de Silvio. Tendón de Aquiles. Polígono de Willis. Maniobra de Valsalva.",
    "HISTORIA CLINICA ANTERIOR. CLÍNICA: disnea de dos semanas. Servicio de Medicina Interna. Hospital de día.",
    "March of nodules along the fissure; this may represent infection. Findings are unchanged since 2017.",
    "Paciente de 70 años. Informe clínico del paciente: Varón de 37 años sin antecedentes. Médico Radiólogo",
    "PIO 18 ao. Av o.d = 0.5. A.C.P: buena ventilación. Citar en C.E Neurología en 2 meses. IAM/2003.",
    "TÓRAX: Sin alteraciones. ABDOMEN: Hígado, bazo y páncreas normales. CONCLUSIÓN: Sin Hallazgos.",
    "No se observa derrame pleural izquierdo. Cruz del corazón normal. Dolores torácicos. Costilla derecha.",
    "PACIENTE DADO DE ALTA CON DETERIORO GENERAL. REMITIDO POR SU MEDICO PARA VALORAR ÁCIDO FÓLICO ORAL.",
    "MARCO CÓLICO NORMAL, EN MAS DE HORA Y MEDIA. DADO DE ALTA MÁS TARDE. SEVERO DETERIORO DE LA FUNCIÓN SISTÓLICA.",
    (
        "SE REALIZA ECO-RENAL: QUISTES EN CAMPO MEDIO RENAL IZQUIERDO. TÉCNICA: TC DE TÓRAX SIN CONTRASTE. LINFOMA DE"
        " HODGKIN."
    ),
    # operations, models and devices that bear a name
    "Status post Ivor Lewis esophagectomy. Esofagectomía de Ivor Lewis. Ross procedure in 2010. Cirugía de Ross.",
    "Mayo and Brock models were used. Modelo de Mayo 12 %. Brock University calculator. Mayo Clinic model.",
    "Glenn shunt, David procedure, Blake drain. Operación de Ross-Konno.",
    # volumes, fractions and abbreviations
    "Volumen de 35 ml. Pl. Derecha 35 ml. C. Izquierda 35 ml. TC c/ contraste 100 ml. Tumour, ML 35000.",
    "Serie 12/05, soplo 3/6, TC con lesión del 1/3 medio, control de 10/12 costillas. Segmento V-VI. T4-N2.",
    "HC negativos. HC 2/2. Historia: disnea. HOSPITAL DISCHARGE. HOSPITAL DE DIA.",
    "Resto sin cambios",
    "",
]


@pytest.mark.parametrize("text", GONE)
def test_what_names_a_person_goes(text: str) -> None:
    result = anonymise(text)
    assert not [word for word in GONE[text] if word in result.text], result.text
    assert result.counts == {kind: result.text.count(f"[{kind}]") for kind in result.counts}
    assert sum(result.counts.values()) == len(re.findall(r"\[[A-Z]+\]", result.text))


@pytest.mark.parametrize("text", STAYS)
def test_medicine_stays_letter_for_letter(text: str) -> None:
    assert anonymise(text).text == text
    assert anonymise(text).counts == {}


def test_typed_tags_and_counts() -> None:
    result = anonymise(
        "Nombre: Ana Gil\nTC 3/4/2019, previo 5/6/2018. Dr. Soto, Hospital La Fe. Tel. 961 234 567, a.b@c.es"
    )
    assert (
        result.text
        == "Nombre: [NAME]\nTC [DATE], previo [DATE]. Dr. [NAME], Hospital [HOSPITAL]. Tel. [PHONE], [EMAIL]"
    )
    assert result.counts == {"DATE": 2, "EMAIL": 1, "HOSPITAL": 1, "NAME": 2, "PHONE": 1}


def test_a_title_stuck_to_its_name() -> None:
    assert (
        anonymise("Remitido por: Dr.Juan Gabriel Pereira Servicio de Urología").text
        == "Remitido por: Dr.[NAME] Servicio de Urología"
    )


def test_spans_are_positions_in_the_text_with_its_entities() -> None:
    text = "Fdo.: Dr. N&uacute;&ntilde;ez, 12&#47;05&#47;2020"
    assert [(text[span.start : span.stop], span.kind) for span in anonymise.spans(text)] == [
        ("N&uacute;&ntilde;ez", "NAME"),
        ("12&#47;05&#47;2020", "DATE"),
    ]


def test_two_dates_stay_two() -> None:
    assert anonymise("TC de 3/4/2019, 5/6/2018 y 2017.").text == "TC de [DATE], [DATE] y 2017."


def test_a_name_once_known_goes_everywhere() -> None:
    text = (
        "Nombre: Remedios\nApellidos: Zubiri Goñi\nNHC: 884422\n\nSe revisa el caso 884422. Zubiri y, ayer, Remedios"
        " acudió. GONI."
    )
    result = anonymise(text).text
    assert not [word for word in ("Remedios", "Zubiri", "Goñi", "884422", "GONI") if word in result]
    # a name that is a word is only one where it acts
    assert "Cruz roja" in anonymise("Nombre: Cruz\nSe ve la Cruz roja.").text


def test_marks_of_another_tool_are_read() -> None:
    text = (
        "<CAB>Informe:</CAB> Se compara con <FECHA>marzo</FECHA> <FECHA>de</FECHA> <FECHA>2012</FECHA> (Dr"
        " <NAME>Xyzt</NAME>). T1 y T2."
    )
    assert anonymise(text).text == "<CAB>Informe:</CAB> Se compara con [DATE] (Dr [NAME]). T1 y T2."


@pytest.mark.parametrize("text", [*GONE, *STAYS])
def test_a_second_pass_changes_nothing(text: str) -> None:
    once = anonymise(text).text
    assert anonymise(once).text == once


@given(st.text(alphabet="Dr. Garcíazx 0123/-:\n[]<>@", max_size=60))
@settings(max_examples=150, deadline=None)
def test_spans_are_ordered_apart_and_the_rest_is_kept(text: str) -> None:
    spans = anonymise.spans(text)
    assert all(span.start < span.stop for span in spans)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(spans))
    kept, position = "", 0
    for span in spans:
        kept += text[position : span.start]
        position = span.stop
    kept += text[position:]
    assert len(kept) == len(text) - sum(span.stop - span.start for span in spans)


def test_long_lines_do_not_take_for_ever() -> None:
    for piece in ("Calle de la ", "Dr. A. B. C. ", "a@", "1 2 3 4 5 6 7 8 9 ", "Hospital de la de la ", "Nombre: "):
        anonymise(piece * 1500)  # quadratic patterns would take minutes
