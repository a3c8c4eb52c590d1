"""Word lists and patterns that reveal a report's language, its modality and failed translations.

English and Spanish, matched on lower-case text without accents.
"""

import re

from bimcvr.curation.text.tokens import fold


def plain(text: str) -> str:
    """Return lower-case text without accents, with single spaces."""
    return " ".join(fold(text).split())


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits, without punctuation."""
    return re.findall(r"[^\W_]+(?:[-'.,/][^\W_]+)*", text.lower())


# what translators, language models, web services and exports leave where a report should be
FAILURES = tuple(
    re.compile(pattern)
    for pattern in (
        r"something wrong with the data",
        r"#{4,}",
        r"^(error|failed|failure|exception|traceback|null|none|nan|n/?a|tbd|todo|empty|undefined|unknown|test)\W*$",
        r"^\W*(error|exception|warning)\b\W",
        (
            r"(translation|traduccion|request|api call|conversion)( \w+){0,3} (failed|error|fallid\w+|unavailable|timed"
            r" out)"
        ),
        r"(failed|unable|could not|cannot) (to )?(translate|be translated|connect|process)",
        r"(no se (ha podido|pudo|puede)|imposible) traducir",
        r"\b(http|status|code|error) ?(code|status)?:? ?[45]\d\d\b",
        (
            r"rate limit|quota exceeded|too many requests|internal server error|bad gateway|service"
            r" unavailable|connection (error|reset|aborted)"
        ),
        r"^(i'?m |i am |we are |lo )?(sorry|siento|lamento)\b",
        r"as an (ai|artificial intelligence|language) (language )?model",
        r"\b(please provide|provide me with|no text (was )?provided|por favor,? proporcion\w+)\b",
        r"^(sure|certainly|of course)[,!.]",
        (
            r"^\W*(no|without|sin) (report|text|translation|informe|texto|datos|data)( \w+)?( available| disponible\w*|"
            r" found)?\W*$"
        ),
        r"(report|informe|texto|text) (is )?(not available|no disponible|unavailable|pendiente|pending)",
        r"lorem ipsum",
        r"you exceeded your|max(imum)? (context|retries)|timeout ?error|read timed out",
    )
)

# a text shared by many patients is a template for normal studies if it mentions the body, and otherwise a placeholder
BODY = re.compile(
    r"\b(chest|thora\w+|torax|toracic\w+|lungs?|pulm\w+|pleur\w+|medias\w+|heart|cardi\w+|corazon|aort\w+|vascul\w+|liver|"
    r"hep\w+|higado|abdom\w+|bone\w*|oseo\w*|osse\w+|lob[eou]\w*|bronch\w+|bronqu\w+|trache\w+|traque\w+|parenchym\w+|parenquima\w*|"
    r"nod[ue]l\w*|effusion|derrame|consolida\w+|opaci\w+|adeno\w+|lymph\w+|atelect\w+|pneumo\w+|neumo\w+|lesion\w*|findings?|"
    r"hallazgo\w*|alteracion\w*|abnormal\w+|ct|tc|tac|scan|radiolog\w+|rx|x-?ray)\b"
)

# Computed tomography by name, and by terms that only apply to it.
CT = re.compile(
    r"\b(ct|cts|cta|hrct|ctpa|mdct|tc|tcs|tac|tacs|tcar|tacar|tcmd|angio-?(tc|tac|ct)|computed(?!"
    r" radiogra)|computeri[sz]ed|tomogra\w+)\b"
)
CT_SIGNS = re.compile(
    r"\b(multi-?(detector|slice|corte|detectores)|helical|helicoidal|volumetric\w*|axial\w*|coronal\w*|sagit+al\w*|cortes|slices|"
    r"reconstruc\w+|mpr|mip|hounsfield|uh|contrast\w*|ground[- ]glass|vidrio (deslustrado|esmerilado)|intraven\w+|civ|"
    r"prevascular\w*|subcarinal\w*|paratra[cq]\w+|centr[io]lob\w+|crazy paving|(mediastinal|lung) window|ventana)\b"
)

# The chest radiograph by name.
FILM = re.compile(
    r"\b(x-?rays?|x ray\w*|(tele-?r?)?radiogra(ph|fi)\w*|roentgen\w*|cxr|rx|rxt|rayos x|placa|radiologia simple|plain"
    r" film|"
    r"(pa|ap|posteroanterior|anteroposterior) (and|y|e) (lateral|lat)|(pa|ap|frontal|lateral) (views?|projections?)|"
    r"(two|single|one|2)[- ]views?|postero-anterior|antero-posterior (chest|torax))\b"
)
# Terms of radiographs that are rare in CT reports; two of them count where no modality is named.
FILM_SIGNS = re.compile(
    r"\b(costo-?(ph|f)renic\w*|cardio-?(ph|f)renic\w*|cardio-?t(h)?oracic\w* (ratio|index|indice)|indice"
    r" cardio-?toracico|ict|"
    r"(cardiac|cardiomediastinal) silhouette|silueta \w+|cardiomediastin\w+|hilar shadows?|sombras? hiliar\w*|"
    r"pinzamiento|blunt\w*|vascular pedicle|pediculo vascular|poor(ly)? inspir\w+|mal inspirad\w+|"
    r"penetrad\w+|rotad\w+|(lung|pulmonary) fields?|campos pulmonares|proyecci\w+|projections?|portable|portatil|"
    r"bipedestacion|upright|erect|films?|posteroanterior|anteroposterior)\b"
)
# Around the name of an examination: words of comparison, indication or recommendation, so that it is another one.
OTHER = re.compile(
    r"\b(previous\w*|prior|compar\w+|earlier|recent|previ[ao]s?|anterior(es)?|respecto|conocid\w+|seen|known|visible|vist[ao]s?|"
    r"visualizad\w+|descrit\w+|described|correlat\w+|correlacion\w*|suspicion|suspected|sospecha|recommend\w*|recom(ien)?end\w*|"
    r"recomienda\w*|sugier\w+|suggest\w*|advis\w+|complet\w+|valorar|consider\w*|aconsej\w+|further|performed"
    r" on|realizad[ao]s? el)\b"
)

# Words of grammar and of every report. Left out are words that English reports may hold too: a, al, compatible, en, es,
# la (left atrium), lo, me, no, o, se, un.
SPANISH = frozenset(
    "de el las los del con y una que como por su sus pero mas este esta estos estas ese esa muy ya sin sobre desde"
    " hasta hay tambien donde cuando ambos ambas dicho dicha presenta presentan observa observan aprecia aprecian"
    " visualiza evidencia evidencian existe existen muestra muestran compatibles derecho derecha derechos izquierdo"
    " izquierda izquierdos pulmonar pulmonares derrame nodulo nodulos ganglios adenopatias engrosamiento higado bazo"
    " hallazgos lobulo lobulos inferiores bilaterales sugestivo sugestiva sugestivos tamano torax vidrio deslustrado"
    " opacidades infiltrados cambios aumentado aumento disminucion significativas significativos".split()
)
