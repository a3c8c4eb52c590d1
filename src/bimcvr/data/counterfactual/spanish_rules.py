"""The Spanish rules of `changes.py`."""

import re

from bimcvr.data.counterfactual.language_rules import MEASURE, START, Rules, any_of, mirrored, rewrites

_SEE = (
    r"(?:observ|apreci|identific|visuali[sz]|objetiv|evidenci|detect|encontr|encuentr|demuestr|demostr|reconoc|advi[re]rt|descri[bp]|"
    r"hall|mostr|muestr|delimit|confirm|constat|comprueb|comprob|v(?=e[n ]|[ií]|e[ií]a))"
)
_SHOW = (
    r"(?:muestran?|mostr[oó]|mostraron|mostraban?|revel[aóo]n?|revelaron|revelaba|evidencian?(?!"
    r" de)|evidenci[oó]|evidenciaron|"
    r"demuestran?|demostr[oó]|demostraron|objetiva(?:n|ron)?|objetiv[oó]|detecta(?:n|ron)?|detect[oó]|identifica(?:n|ron)?|identific[oó]|"
    r"presentan?|presentaban?|existen?|exist[ií]an?|hay|hab[ií]a|aparecen?|apreci[oó]|describen?|confirm[oó])"
)
_STATE = r"(?:aumentad|dilatad|engrosad|desplazad|elevad|colapsad|calcificad|agrandad|ensanchad|ocupad|infiltrad)[oa]s?"
_FINITE = (
    rf"\b(?:es|son|est[aá]n?|fue(?:ron)?|era|se|ha|han|tiene|realiza|persisten?|impresiona|sugieren?|parecen?|miden?|condicionan?|"
    rf"que|pueden?|{_SHOW}|\w+(?:aron|ieron|aban?|ó))\b"
)
_EXAMINATION = (
    r"(?:angio-?)?(?:tac|tc|rx|rm|rmn)|pet|(?:tomo|radio|eco)graf\w+|placa|"
    r"estudio|control|cortes|paciente|var[oó]n|mujer"
)
_AGAIN = r"(?:(?:tambi[eé]n|adem[aá]s|[uú]nicamente|s[oó]lo|nuevamente)\s+)?"


def _forms(*pairs: tuple[str, str]) -> dict[str, str]:
    """Spell out adjectives in -o: both genders, both numbers."""
    return {old + end: new + end for old, new in pairs for end in ("o", "a", "os", "as")}


# "gran*" and "pequeñ*" take their form from the noun, see `sizes.agreed`
_GRADES = {
    **_forms(
        ("mínim", "masiv"),
        ("masiv", "mínim"),
        ("moderad", "mínim"),
        ("discret", "marcad"),
        ("ligér", "marcad"),
        ("liger", "marcad"),
        ("marcad", "liger"),
        ("extens", "discret"),
        ("difus", "parchead"),
        ("parchead", "difus"),
    ),
    **{f"sever{end}": f"leve{s}" for end, s in (("o", ""), ("a", ""), ("os", "s"), ("as", "s"))},
    **{f"pequeñ{end}": "gran*" for end in ("o", "a")},
    **{f"pequeñ{end}": "grandes" for end in ("os", "as")},
    "leve": "grave",
    "leves": "graves",
    "grave": "leve",
    "graves": "leves",
    "importante": "leve",
    "importantes": "leves",
    "gran": "pequeñ*",
    "grande": "pequeñ*",
    "grandes": "pequeñ*s",
    "leve a moderado": "grave",
    "leve-moderado": "grave",
    "leve a moderada": "grave",
    "leve-moderada": "grave",
    "moderado a severo": "leve",
    "moderada a severa": "leve",
    "moderado-severo": "leve",
    "moderada-severa": "leve",
    "levemente": "marcadamente",
    "ligeramente": "marcadamente",
    "discretamente": "marcadamente",
    "mínimamente": "marcadamente",
    "moderadamente": "mínimamente",
    "marcadamente": "ligeramente",
    "severamente": "levemente",
    "parcial": "total",
    "total": "parcial",
    "completo": "parcial",
    "completa": "parcial",
}
_SIDES = [("derech" + end, "izquierd" + end) for end in ("o", "a", "os", "as")]
_SIDES += [("dch" + end, "izd" + end) for end in ("o", "a", "os", "as")] + [("dch", "izq")]

SPANISH = Rules(
    sides=mirrored(
        [
            *_SIDES,
            ("del lóbulo medio", "de la língula"),
            ("al lóbulo medio", "a la língula"),
            ("el lóbulo medio", "la língula"),
            ("lóbulo medio", "língula"),
        ]
    )
    | {"izqd" + end: "dch" + end for end in ("", "o", "a")}
    | {"lingular": "de lóbulo medio"}
    | {
        f"{one}{more}": other
        for more in (" derecho", " pulmonar", " pulmonar derecho")
        for one, other in (
            ("del lóbulo medio", "de la língula"),
            ("al lóbulo medio", "a la língula"),
            ("el lóbulo medio", "la língula"),
            ("lóbulo medio", "língula"),
        )
    }
    | {
        f"{one} izquierda": other
        for one, other in (
            ("de la língula", "del lóbulo medio"),
            ("la língula", "el lóbulo medio"),
            ("língula", "lóbulo medio"),
        )
    },
    side_codes=mirrored([("LSD", "LSI"), ("LID", "LII")]) | {"LM": "língula"},
    no_side=any_of(r"derecho a (?!la\b)", r"línea derecha"),
    right=re.compile(r"derech|dch|medio|LSD|LID|LM"),
    both_sides=any_of(r"bilateral(?:es|mente)?\b", r"amb[oa]s\b", r"bibasal(?:es)?\b", r"biapical(?:es)?\b"),
    lobes={
        f"{word} {at}{s}{more}": f"{word} {to}{s}{more}"
        for at, to in (("superior", "inferior"), ("inferior", "superior"))
        for word, s, more in (
            ("lóbulo", "", ""),
            ("lóbulos", "es", ""),
            ("campo", "", ""),
            ("campos", "es", ""),
            ("campo pulmonar", "", ""),
            ("campos pulmonares", "es", ""),
        )
    }
    | {
        "lóbulo medio": "lóbulo inferior derecho",
        "lóbulo medio del pulmón derecho": "lóbulo inferior del pulmón derecho",
        "lóbulo medio pulmonar": "lóbulo inferior derecho",
        "lóbulo medio pulmonar derecho": "lóbulo inferior derecho",
        "lóbulo medio derecho": "lóbulo inferior derecho",
        "de la língula": "del lóbulo inferior izquierdo",
        "a la língula": "al lóbulo inferior izquierdo",
        "la língula": "el lóbulo inferior izquierdo",
        "língula": "lóbulo inferior izquierdo",
        "lingular": "de lóbulo inferior izquierdo",
    },
    lobe_codes={"LSD": "LID", "LID": "LSD", "LSI": "LII", "LII": "LSI", "LM": "LID"},
    sizes=_GRADES,
    no_size=any_of(
        r"grandes (?:vasos|articulaciones|vías)",
        r"pequeñ[oa]s? (?:vías?|vasos|articulaciones|células|empresa)",
        r"célula(?:s)? grande",
        r"(?:parcial|total|complet[oa])\b(?<!colapso parcial)(?<!colapso total)(?<!colapso completo)(?<!atelectasia"
        r" parcial)"
        r"(?<!atelectasia total)(?<!atelectasia completa)",
        r"(?:previ[oa]s?|anterior(?:es)?|antes|era|de los|menor(?:es)? (?:de|a)|inferior(?:es)? a|superior(?:es)?"
        r" a|mayor(?:es)? (?:de|a)|"
        r"menos de|más de|por debajo de|por encima de|máximo de)\s+(?:unos |aproximadamente )?\d[^;.]{0,25}",
        r"(?:cortes|grosor de corte|espesor|intervalos?|colimación|reconstrucci\w+)\b[^;.]{0,20}\d[\d.,]* ?mm\b",
        r"\d[\d.,]* ?mm de (?:grosor de corte|espesor|colimación)",
        r"(?:estado|paciente|enfermedad) grave",
        r"importante (?:que|destacar)",
        r"importante\b(?= (?:en|para)\b)",
        r"leve\w* (?:dolor|fiebre|disnea)",
    ),
    leads=re.compile(
        rf"(?:(?:un[oa]?s?|algun[oa]s?|m[uú]ltiples|vari[oa]s|numeros[oa]s|nuev[oa]s?|posibles?|probables?|dos|tres|{MEASURE}|"
        + "|".join(sorted(_GRADES, key=len)[::-1])
        + r"|(?:cantidad|cuantía|lámina) de)\s+(?:y )?)+",
        re.IGNORECASE,
    ),
    denial=any_of(
        r"no(?! (?:obstante|s[oó]l[oa]|s[oó]lo))\b",
        r"sin(?! embargo)\b",
        r"ausen(?:cia|te)s?\b",
        r"niega\b",
        r"descart\w+",
        r"normal(?:es|mente)?\b",
        r"ni\b",
        r"nunca\b",
        r"ning[uú]n\w*",
        r"negativ\w+",
        r"resuelt\w+",
        r"resolución d",
        r"conservad\w+",
        r"permeables?\b",
        r"libres? de\b",
        r"desapar\w+",
        r"excluy\w+",
        r"respetad\w+",
        r"tampoco\b",
        r"indemnes?\b",
        r"anodin\w+",
        r"normalidad\b",
        r"(?:motivo|antecedentes|datos clínicos|historia|técnica)\b[^.:]{0,20}:",
    ),
    cut=re.compile(
        r"(?<=[;,])\s*(?=no\b)|(?<=;)(?![^()]*\))|\b(?=(?:sin(?! embargo)|pero|aunque|y no|excepto|salvo)\b)",
        re.IGNORECASE,
    ),
    empty=any_of(
        r"otr[oa]s?\b",
        r"cambios?\b",
        r"contraste\b",
        r"civ\b",
        r"cte\b",
        r"administraci\w+",
        r"respecto\b",
        r"soplos\b",
        r"complicaci\w+",
        r"interés\b",
        r"previ[oa]s?\b",
        r"incidenci\w+",
        r"compar\w+",
        r"modificaci\w+",
        r"más\b",
        r"ningun[oa]s? de",
        r"alergi\w+",
        r"antecedentes\b",
        r"descart\w+",
        r"embargo\b",
        r"resto\b",
        r"mejoría\b",
        r"tratamiento\b",
        r"hallazgos? (?:significativ|relevante|destacable)\w*",
        r"lugar\b",
        r"duda\b",
        r"recidiva\b",
        r"obstante\b",
        r"necesidad\b",
        r"precis\w+",
    ),
    deny=rewrites(
        (
            (
                r"\b(?P<verb>(?:se|le|nos) (?:le"
                rf" )?{_SEE}\w*\s+{_AGAIN})(?!que\b|como\b|a\b|en\b|por\b|mediante\b)(?P<x>[^;]+)$"
            ),
            "no {verb}{x}",
        ),
        (
            rf"\b(?P<verb>{_SEE}\w*ndo(?:se)?\s+{_AGAIN})(?!que\b|como\b|a\b|en\b|por\b|tras\b)(?P<x>[^;]+)$",
            "no {verb}{x}",
        ),
        (
            (
                r"(?<!la )(?<!una )(?<!con )(?<!se"
                rf" )\b(?P<verb>{_SHOW}\s+{_AGAIN})(?!que\b|como\b|en\b|por\b|a\b)(?P<x>[^;]+)$"
            ),
            "no {verb}{x}",
        ),
        (rf"\b(?P<be>est[aá]n?|es|son|se encuentran?)\s+(?:\w+mente\s+)?(?P<y>{_STATE})\b", "no {be} {y}"),
    ),
    bare=(
        re.compile(
            START + rf"(?!.*{_FINITE})(?!.*\b(?:tac|rx|tc)\b)"
            rf"(?!(?:el|la|los|las|en|a|al|por|de|desde|durante|tras|ante|dado|con|una|{_EXAMINATION})\b)"
            r"(?P<x>[^:]+)$",
            re.IGNORECASE | re.DOTALL,
        ),
        "{start}no hay {x}",
    ),
    affirm=rewrites(
        (START + r"no\s+(?P<x>.+)$", "{start}{x}"),
        (rf"\bno\s+(?P<x>(?:(?:se|le|nos) (?:le )?{_SEE}\w*|{_SEE}\w*ndo(?:se)?|{_SHOW}|existiendo)\b[^;]*)$", "{x}"),
        (rf"\bno\s+(?P<be>est[aá]n?|es|son)\s+(?P<y>{_STATE})\b", "{be} {y}"),
        (rf"\bsin\s+(?P<v>{_SEE}|present)arse\b\s*(?P<x>[^;]*)$", "{v}ándose {x}"),
        (rf"\bsin\s+(?P<v>{_SEE}|present)ar\b\s*(?P<x>[^;]*)$", "{v}ando {x}"),
        (rf"\bsin\s+(?P<v>{_SEE}|exist|v)[ei]rse\b\s*(?P<x>[^;]*)$", "{v}iéndose {x}"),
        (rf"\bsin\s+(?P<v>{_SEE}|exist)[ei]r\b\s*(?P<x>[^;]*)$", "{v}iendo {x}"),
        (r"\bsin\s+(?!(?:que|y)\b)(?!\w+[aei]r(?:l[aoe]s?|se)?\b)(?P<x>[^;]+)$", "con {x}"),
        (r"\bausencia de\s+(?P<x>[^;]+)$", "presencia de {x}"),
    ),
    join=rewrites((r"\bni(?= h?i)", "e"), (r"\bni\b", "y"), (r"\bning[uú]n\b", "algún"), (r"\bninguna\b", "alguna")),
)
