"""Write the Spanish report of a study, from sentences that state the same facts as the English ones.

`{site}` and `{size}` stand for what `SITES` and a finding's grades say of them. Written for the phantom; no report was
copied.
"""

from bimcvr.phantom.reports.findings import FINDING_KINDS, PlantedFinding, Rng
from bimcvr.phantom.reports.vocabulary import NORMAL as ENGLISH_NORMAL
from bimcvr.phantom.reports.vocabulary import Phrases

_LOBES = {
    "right upper lobe": "lóbulo superior derecho",
    "right middle lobe": "lóbulo medio",
    "right lower lobe": "lóbulo inferior derecho",
    "left upper lobe": "lóbulo superior izquierdo",
    "left lower lobe": "lóbulo inferior izquierdo",
}
_MALE = {"right": "derecho", "left": "izquierdo"}
_FEMALE = {"right": "derecha", "left": "izquierda"}
_STATIONS = {
    "right paratracheal": "paratraqueales derechas",
    "prevascular": "prevasculares",
    "subcarinal": "subcarinales",
    "right hilar": "hiliares derechas",
    "left hilar": "hiliares izquierdas",
    "right axillary": "axilares derechas",
    "left axillary": "axilares izquierdas",
}


def _phrases(
    sized: tuple[str, ...],
    plain: tuple[str, ...],
    negations: tuple[str, ...],
    grades: dict[str, tuple[str, ...]] | None = None,
    sites: dict[str, str] | None = None,
) -> Phrases:
    return Phrases(sized, plain, negations, grades or {}, sites or {})


PHRASES: dict[str, Phrases] = {
    "pleural effusion": _phrases(
        ("Derrame pleural {site} de cuantía {size}.", "Se observa derrame pleural {site}, de cuantía {size}."),
        ("Derrame pleural {site}.", "Existe líquido libre en el espacio pleural {site}."),
        ("No se observa derrame pleural.", "Sin derrame pleural.", "Espacios pleurales libres de líquido."),
        {"small": ("leve", "escasa"), "moderate": ("moderada",), "large": ("masiva", "abundante")},
        _MALE,
    ),
    "pneumothorax": _phrases(
        ("Neumotórax {site} {size}.", "Se identifica neumotórax {site} de tamaño {size}."),
        ("Neumotórax {site}.", "Se observa aire libre en el espacio pleural {site}."),
        ("No hay neumotórax.", "Sin signos de neumotórax.", "No se aprecia aire libre pleural."),
        {"small": ("pequeño", "mínimo"), "moderate": ("moderado",), "large": ("grande", "importante")},
        _MALE,
    ),
    "atelectasis": _phrases(
        ("Atelectasia {size} del {site}.", "Pérdida de volumen {size} del {site} en relación con atelectasia."),
        ("Atelectasia del {site}.", "Colapso del {site} por atelectasia."),
        ("No se observan atelectasias.", "Sin atelectasias.", "No hay pérdida de volumen pulmonar."),
        {"partial": ("parcial", "incompleta"), "complete": ("completa", "total")},
        _LOBES,
    ),
    "consolidation": _phrases(
        ("Consolidación {size} en {site}.", "Se observa una consolidación {size} con broncograma aéreo en el {site}."),
        ("Consolidación en {site}.", "El {site} presenta consolidación con broncograma aéreo."),
        ("No se observan consolidaciones.", "Sin focos de consolidación.", "No hay áreas de consolidación."),
        {"segmental": ("segmentaria", "limitada"), "lobar": ("lobar", "confluente")},
        _LOBES,
    ),
    "mass": _phrases(
        ("Masa de {size} en {site}.", "El {site} muestra una masa espiculada que mide {size}."),
        ("Masa pulmonar en {site}.", "Se observa una masa espiculada en el {site}."),
        ("No se observan masas pulmonares.", "Sin masas pulmonares."),
        {},
        _LOBES,
    ),
    "bronchiectasis": _phrases(
        ("Bronquiectasias {size} en {site}.", "Se aprecian bronquiectasias {size} en el {site}."),
        ("Bronquiectasias en {site}.", "Los bronquios del {site} están dilatados y de paredes engrosadas."),
        ("No se observan bronquiectasias.", "Sin bronquiectasias.", "Bronquios de calibre normal."),
        {"mild": ("leves", "discretas"), "severe": ("graves", "marcadas")},
        _LOBES,
    ),
    "ground glass": _phrases(
        (
            "Opacidades en vidrio deslustrado de extensión {size} en {site}.",
            "Patrón en vidrio deslustrado de extensión {size} en el {site}.",
        ),
        ("Opacidades en vidrio deslustrado en {site}.", "El {site} muestra atenuación en vidrio deslustrado."),
        ("No hay opacidades en vidrio deslustrado.", "Sin áreas en vidrio deslustrado."),
        {"patchy": ("parcheada", "dispersa"), "extensive": ("difusa", "amplia")},
        _LOBES,
    ),
    "nodule": _phrases(
        ("Nódulo de {size} en {site}.", "Se identifica un nódulo sólido de {size} en el {site}."),
        ("Nódulo pulmonar en {site}.", "El {site} contiene un nódulo sólido."),
        ("No se observan nódulos pulmonares.", "Sin nódulos pulmonares."),
        {},
        _LOBES,
    ),
    "adenopathy": _phrases(
        ("Adenopatías {site} de {size}.", "Conglomerado de adenopatías {site} que alcanza {size}."),
        ("Adenopatías {site}.", "Se observan adenopatías {site} aumentadas de tamaño."),
        ("No se observan adenopatías.", "Sin adenopatías de tamaño significativo.", "No hay adenopatías patológicas."),
        {},
        _STATIONS,
    ),
    "emphysema": _phrases(
        ("Enfisema {size} {site}.", "Signos de enfisema {size} {site}."),
        ("Enfisema {site}.", "Bullas y enfisema {site}."),
        ("Sin signos de enfisema.", "No se observa enfisema."),
        {"mild": ("leve", "discreto"), "moderate": ("moderado",), "severe": ("grave", "avanzado")},
        {"upper lobe predominant": "de predominio en lóbulos superiores", "diffuse": "difuso"},
    ),
    "cardiomegaly": _phrases(
        ("Cardiomegalia {size}.", "Aumento {size} de la silueta cardiaca en relación con cardiomegalia."),
        ("Cardiomegalia.", "Corazón aumentado de tamaño."),
        ("No hay cardiomegalia.", "Corazón de tamaño normal.", "Sin cardiomegalia."),
        {"mild": ("leve", "ligera"), "moderate": ("moderada",), "severe": ("grave", "marcada")},
    ),
    "pericardial effusion": _phrases(
        ("Derrame pericárdico de {size}.", "Derrame pericárdico con un espesor de {size}."),
        ("Derrame pericárdico.", "Se observa líquido en el pericardio."),
        ("No hay derrame pericárdico.", "Sin derrame pericárdico.", "Pericardio sin alteraciones."),
    ),
    "aortic calcification": _phrases(
        ("Calcificación {size} de {site}.", "Ateromatosis calcificada {size} de {site}."),
        ("Calcificación de {site}.", "Ateromatosis calcificada de {site}."),
        ("Sin calcificaciones aórticas.", "No se observa ateromatosis calcificada."),
        {"mild": ("leve", "ligera"), "severe": ("grave", "marcada")},
        {
            "arch": "cayado aórtico",
            "descending": "aorta descendente",
            "arch and descending": "cayado aórtico y aorta descendente",
        },
    ),
    "aortic aneurysm": _phrases(
        ("Aneurisma de aorta {site} de {size}.", "Dilatación aneurismática de la aorta {site} que mide {size}."),
        ("Aneurisma de aorta {site}.", "Aorta {site} dilatada."),
        ("Aorta torácica de calibre normal.", "No se observan aneurismas aórticos."),
        {},
        {"ascending": "ascendente", "descending": "descendente"},
    ),
    "hiatal hernia": _phrases(
        ("Hernia de hiato de {size}.", "Se observa hernia hiatal que mide {size}."),
        ("Hernia de hiato.", "Hernia hiatal por deslizamiento."),
        ("No hay hernia de hiato.", "Sin hernia hiatal."),
    ),
    "goiter": _phrases(
        ("Bocio {site} de {size}.", "Aumento de tamaño del lóbulo tiroideo {site} hasta {size}, compatible con bocio."),
        ("Bocio {site}.", "Lóbulo tiroideo {site} aumentado de tamaño."),
        ("Tiroides de tamaño normal.", "No se observa bocio."),
        {},
        _MALE,
    ),
    "pacemaker": _phrases(
        (),
        ("Marcapasos en hemitórax {site}.", "Generador de marcapasos en la región pectoral del lado {site}."),
        ("No hay dispositivos implantados.", "Sin marcapasos."),
        {},
        _MALE,
    ),
    "scoliosis": _phrases(
        ("Escoliosis {size} de convexidad {site}.", "Columna dorsal con escoliosis {size} de convexidad {site}."),
        ("Escoliosis de convexidad {site}.", "Columna dorsal incurvada con convexidad {site}."),
        ("Columna dorsal bien alineada.", "Sin escoliosis."),
        {"mild": ("leve", "discreta"), "severe": ("grave", "marcada")},
        _FEMALE,
    ),
    "hepatic steatosis": _phrases(
        ("Esteatosis hepática {size}.", "Infiltración grasa {size} del hígado."),
        ("Esteatosis hepática.", "Hígado de baja atenuación por infiltración grasa."),
        ("Hígado de densidad normal.", "Sin esteatosis hepática."),
        {"mild": ("leve", "ligera"), "severe": ("grave", "marcada")},
    ),
}

# in the order of the English groups
NORMAL: tuple[tuple[str, ...], ...] = (
    ("Parénquima pulmonar sin alteraciones.", "Campos pulmonares libres."),
    ("Pleura sin alteraciones.",),
    ("Mediastino sin hallazgos.", "Estructuras mediastínicas normales."),
    ("Corazón y pericardio normales.",),
    ("Grandes vasos sin alteraciones.",),
    ("Abdomen superior incluido sin hallazgos.",),
    ("Estructuras óseas sin lesiones.",),
)

FILLERS = (
    "TC de tórax valorado con ventanas de pulmón y mediastino.",
    "Se realizan reconstrucciones axiales y coronales.",
    "Tráquea y bronquios principales permeables.",
    "No se identifican fracturas costales.",
    "Glándulas suprarrenales de tamaño normal.",
    "Sin otros hallazgos relevantes.",
    "Correlacionar con la clínica.",
    "Esófago no dilatado.",
)

# what a chest film's report says, and a CT's never: the negative cohort has such reports beside CT volumes
XRAY = (
    ("Rx de tórax PA y lateral.", "Chest X-ray PA and lateral."),
    ("Radiografía de tórax en proyección anteroposterior.", "Chest radiograph, anteroposterior projection."),
    ("Radiografía portátil de tórax en decúbito.", "Portable chest radiograph in supine position."),
)
XRAY_FINDINGS = (
    ("Índice cardiotorácico dentro de la normalidad.", "Cardiothoracic index within normal limits."),
    ("Senos costofrénicos libres.", "Costophrenic angles are free."),
    ("Silueta cardiomediastínica sin alteraciones.", "Cardiomediastinal silhouette without changes."),
    ("Aumento de densidad en base pulmonar derecha.", "Increased density in the right lung base."),
    ("Aumento de densidad en base pulmonar izquierda.", "Increased density in the left lung base."),
    ("Hilios de tamaño y morfología normales.", "Hila of normal size and shape."),
    ("Pinzamiento del seno costofrénico izquierdo.", "Blunting of the left costophrenic angle."),
    ("Elongación aórtica.", "Elongated aorta."),
    ("Escoliosis dorsal.", "Thoracic scoliosis."),
    ("Sin consolidaciones parenquimatosas.", "No parenchymal consolidation."),
    ("Cambios degenerativos en columna dorsal.", "Degenerative changes in the thoracic spine."),
    ("Marcapasos bicameral con electrodos en posición.", "Dual-chamber pacemaker with leads in place."),
)


def write_spanish(facts: tuple[PlantedFinding, ...], rng: Rng) -> str:
    """Write a report in Spanish.

    Args:
        facts: the findings as the study's English report states them: a size that it leaves out is None.
        rng: for the random draws.
    """
    sentences = [_state(finding, rng) for finding in facts]
    present = {finding.finding for finding in facts}
    absent = [_choose(PHRASES[name].negations, rng) for name in FINDING_KINDS if name not in present]
    normal = [
        _choose(statements, rng)
        for (names, _), statements in zip(ENGLISH_NORMAL, NORMAL, strict=True)
        if not present & set(names)
    ]
    goal = int(rng.integers(40, 90))
    pool = [*absent, *normal, *FILLERS]
    for position in rng.permutation(len(pool)):
        if sum(len(sentence.split()) for sentence in sentences) >= goal:
            break
        sentences.append(pool[position])
    return " ".join(sentences[i] for i in rng.permutation(len(sentences)))


def _state(finding: PlantedFinding, rng: Rng) -> str:
    phrases = PHRASES[finding.finding]
    template = _choose(phrases.plain if finding.size is None else phrases.sized, rng)
    size = ""
    if isinstance(finding.size, str):
        size = _choose(phrases.grades[finding.size], rng)
    elif finding.size is not None:
        size = f"{finding.size / 10:g}".replace(".", ",") + " cm" if rng.random() < 0.3 else f"{finding.size} mm"
    return template.format(site=phrases.sites.get(finding.site, finding.site), size=size)


def _choose(options: tuple[str, ...], rng: Rng) -> str:
    return options[int(rng.integers(len(options)))]
