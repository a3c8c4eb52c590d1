"""The anonymiser's patterns of hospitals, health centres and universities."""

import re
from re import Pattern

from bimcvr.curation.anonymise.rules import MONTH_ES, STOP, UP

_GENERIC = (
    r"(?i:Universitari[oa]?|General|Regional|Provincial|Comarcal|Cl[íi]nico|Cl[íi]nic|Nacional|Militar|Materno[-"
    r" ]?Infantil|Polit[èée]cnic[oa]?|"
    r"Hospitalari[oa]|Asistencial|M[ée]dico|Quir[úu]rgico|Infantil)"
)
_PLACE_WORD = (
    r"(?:(?i:nuestra[ \t]+se[ñn]ora)|(?:La|El|Los|Las|LA|EL|LOS|LAS)["
    rf" \t]+[{UP}]\w+|{STOP}[{UP}“\"][\w’'´·.\"”-]*[\w\"”]|\d{{1,2}}(?=\s+(?i:de\s+(?:{MONTH_ES}))))"
)
_PLACE_RUN = (
    rf"(?:{_GENERIC}\s+(?:(?i:[yi])\s+(?={_GENERIC}))?)*(?:(?i:de\s+la|de\s+las|de\s+los|de|del|la|l['’´]|d['’´])\s*)*{_PLACE_WORD}"
    rf"(?:[ \t]+(?:(?i:de\s+la|de\s+las|de\s+los|del?|las?|los|y|i)[ \t]+|(?i:[dl])['’´])*"
    rf"(?:{_PLACE_WORD}|(?i:{MONTH_ES})))*"
)
_NO_HOSPITAL = r"(?i:discharge|admission|course|stay|days?|number|record|de\s+d[íi]a)\b"
_SHORT = r"(?:Gral|Univ|Cl[íi]n|Prov|Reg)"
HOSPITALS: tuple[Pattern[str], ...] = (
    re.compile(
        rf"\b(?:(?:(?:Hospital|HOSPITAL)(?!\s+{_NO_HOSPITAL})|Policl[íi]nica|Sanatorio|Complejo\s+(?:Hospitalario|Asistencial)|Centro\s+(?:de\s+Salud|"
        rf"M[ée]dico|Hospitalario|Penitenciario)|Ambulatorio|Consultorio|Fundaci[óo]n\s+(?:Hospital|Jim[ée]nez)|Mutua|"
        rf"Instituto|Universidad|Facultad|C\.\s?S\.)[ \t]+|(?<=[a-z,(.)][ ])(?:Cl[íi]nica|CL[ÍI]NICA)[ \t]+|"
        rf"(?<=\n)Cl[íi]nica[ \t]+)"
        rf"(?P<value>{_PLACE_RUN})"
    ),
    re.compile(
        rf"\b(?:HOSPITAL(?!\s+{_NO_HOSPITAL})|HOSP\.|CENTRO\s+DE\s+SALUD|CENTRO\s+M[ÉE]DICO)\s+(?P<value>(?:(?:UNIVERSITARIO|GENERAL|REGIONAL|"
        rf"PROVINCIAL|"
        rf"COMARCAL|CL[ÍI]NICO|DE|DEL|LA|LOS|VIRGEN|SAN|SANTA|SANT|NUESTRA)\s+){{1,4}}[{UP}]{{3,}})"
    ),
    re.compile(
        rf"(?P<value>\b[{UP}]{{3,}}[ \t]+(?:GENERAL|MEMORIAL|UNIVERSITY|REGIONAL|COUNTY|COMMUNITY|CHILDREN['’]?S|"
        r"VETERANS)[ \t]+(?:HOSPITAL|INFIRMARY|CLINIC|MEDICAL[ \t]+CENT(?:ER|RE)))\b"
    ),
    re.compile(
        rf"(?P<value>\b(?:St\.?|Saint)\s+[{UP}]\w+(?:['’]s)?(?:[ \t]+[{UP}]\w+)?[ \t]+(?:Hospital|Infirmary|Clinic|"
        rf"Medical\s+Cent(?:er|re)))"
    ),
    re.compile(
        rf"(?P<value>\b(?!(?:The|At|In|This|Our|From|Outside)\b)[{UP}]\w+(?:['’]s)?(?:[ \t]+(?:and[ \t]+|"
        rf"of[ \t]+)?[{UP}][\w'’]+){{0,4}}"
        r"[ \t]+(?:Hospital|Infirmary|Clinic|Medical\s+Cent(?:er|re)|Health\s+(?:System|Cent(?:er|re))|"
        r"Imaging\s+Cent(?:er|re)|University))\b"
        rf"(?![ \t]+(?:[{UP}\d\[]|(?:del?|models?|calculators?|criteria|scores?|classification|nomograms?|"
        r"(?:and|or|y|o)[ \t]+\w+[ \t]+models?)\b))"
    ),
    # shortened: `H. Universitario La Paz`, `HGU de Elche`; HU alone is also a unit
    re.compile(
        rf"(?<![\w.])(?:Hosp\.|H\.(?=\s?(?:{_GENERIC}|Gral|Univ|La[ \t])(?![\w]))|"
        r"H\.\s?[GC]?\.?\s?U\.|HGU|HCU|HUP|HCUV)"
        rf"[ \t]*(?:{_SHORT}\.[ \t]*)*(?!{_SHORT}\.)(?P<value>{_PLACE_RUN})"
    ),
    re.compile(
        r"(?<!\d )(?<![\w.-])HU[ \t]+(?P<value>(?:La|Las|El|Los|San|Santa|Virgen|Reina|Infanta|Puerta|Doce|12|Rey|"
        rf"Ram[óo]n|Son)(?:[ \t]+(?:(?i:de|del|la|los)[ \t]+)*[{UP}]\w+)+)"
    ),
    re.compile(rf"(?:(?<=\bdel )|(?<=\bal ))CAP[ \t]+(?P<value>[{UP}]\w+(?:[ \t]+[{UP}]\w+)*)"),
    re.compile(
        r"\ACl[íi]nica[ \t]+(?P<value>(?:Quir[óo]n\w*|Teknon|Planas|Ruber|Rotger|Juaneda|San|Santa|Virgen|Nuestra)"
        rf"(?:[ \t]+[{UP}]\w+)*)"
    ),
    re.compile(
        r"(?P<value>\b(?:Johns[ \t]+Hopkins|(?:Memorial[ \t]+)?Sloan[ -]Kettering(?:[ \t]+Cancer[ \t]+Cent(?:er|re))?|"
        r"M\.?D\.?[ \t]+Anderson|Cedars[ -]Sinai|Mount[ \t]+Sinai|Massachusetts[ \t]+General|Cleveland[ \t]+Clinic)"
        r"(?:[ \t]+(?:Hospital|Medical[ \t]+Cent(?:er|re)|University))?)\b"
    ),
    re.compile(rf"(?P<value>\b[{UP}]\w+['’]s[ \t]+College[ \t]+Hospital)\b"),
    re.compile(rf"(?P<value>\b(?:Hospital|University|Institute)\s+of\s+[{UP}]\w+(?:[ \t]+[{UP}]\w+){{0,3}})"),
)
HOSPITAL_LOWER = re.compile(
    r"\b(?:hospital|centro de salud|complejo hospitalario)(?P<value>(?:["
    r" \t]+(?:universitari[oa]?|general|regional|provincial|comarcal|"
    r"cl[íi]nico|virgen|san|santa|sant|nuestra|reina|pr[íi]ncipe|doctor|dr|se[ñn]ora))+(?P<rest>(?:["
    r" \t]+[^\W\d_]+){0,4}))"
)
