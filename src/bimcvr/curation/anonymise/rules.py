"""The anonymiser's patterns as data: field labels, dates, phones, addresses, hospitals, and words that are kept."""

import re
from re import Pattern

UP = "A-ZÁÉÍÓÚÜÑÀÈÌÒÙÇ"
PARTICLE = r"(?i:de\s+las?|de\s+los|del?|d[’'´]|las?|los|el|y|i|e|da|dos|van|von|den|der|al)"

# words that end a name and are never part of one
NOT_A_NAME = (
    "Servicio|Servei|Sección|Seccion|Unidad|Unitat|Departamento|Departament|Dpto|Hospital|Clínica|Clinica|Centro|Centre|Complejo|Instituto|"
    "Universidad|Facultad|Correo|Electrónico|Electronico|E-?mail|Email|Calle|Avenida|Avda|Av|Paseo|Plaza|Carretera|Ctra|Ronda|Tel|Tlf|"
    "Tfno|Teléfono|Telefono|Fax|Jefe|Médico|Medico|Médica|Pediatra|Radiólogo|Radiologo|Radióloga|Cirugía|Medicina|Urología|Colegiado|"
    "N[ºo°]|NºCol|Nombre|Apellidos?|Fecha|Edad|Sexo|País|Informe|Motivo|Hallazgos|Técnica|Conclusión|Conclusion|Impresión|Impression|"
    "Findings|Technique|History|Indication|Comparison|Exam|Date|Consultant|Radiologist|Department|Male|Female|Varón|Varon|Mujer|Hombre|"
    "Paciente|Patient|Se|El|La|En|Con|Sin|No|The|CT|TC|TAC|RM|RX|Rx|MD|M\\.D|PhD|Referring|Attending|Age|Sex|DOB|MRN|ID|Study|Exploración|"
    "Provincia|Localidad|Domicilio|Dirección|Código|CP|NHC|NASS|CIPA|DNI|Sello|Tiempo|UCI|HAD|TAC|ORL|DE|DEL|LAS|LOS|Y|"
    r"N[ÚU]M|Hoja|Pruebas?|Drs?|Dra|Sra?|Mrs?|Ms|Prof|Don|Doña|"
    "Niñ[oa]s?|Reci[eé]n|Lactante|Joven|Adolescente|Escolar|Señora?|Ancian[oa]|Gestante|Man|Woman|Boy|Girl|Infant|España|Spain"
)
_SPECIALTY = (
    r"(?i:cl[íi]nicas?|medicina|interna|cirug[íi]a|digestivo|urgencias|trauma|\w*(?:log[íi]as?|tr[íi]a|metr[íi]a|"
    r"terapia|radiology|surgery|"
    r"oncology|medicine))"
)
# `El-Sayed` is a name
STOP = rf"(?!(?:(?i:{NOT_A_NAME})|{_SPECIALTY})(?![\w]|-[{UP}][a-z]))"
TOKEN = rf"{STOP}(?:M\.?[ªa°º]\.?(?!\w)|[{UP}](?:[^\W\d_]|[’'´·ª])+(?:-(?:[^\W\d_]|[’'´])+)*(?![\d_])|[{UP}]\.)"
_LINK = rf"(?:[ \t]*,[ \t]*|[ \t]+|-)(?:{PARTICLE}[ \t]+){{0,2}}"
NAME_RUN = (
    rf"(?<!\w)(?:(?:De|DE|Del|DEL|La|LA|De la|de|del)[ \t]+)?(?:{PARTICLE}[ \t]+)?{TOKEN}(?:{_LINK}{TOKEN}){{0,6}}"
)
TITLE = (
    r"(?:\b(?:Dr\.?\s?/\s?a|Drs?|DRS?|Dra|DRA|Dres|Doctora?|DOCTORA?|Sra?|Srta|Don|Doña|Dña|D\.ª|Dª|Mr|Mrs|Ms|Miss|Prof|"
    r"Profa)\b\.?|\bD\.(?=[ \t]+\w{3}))"
)
STUCK_TITLE = re.compile(r"(?:Dra?|Dres|Sra?)\.(?=\w)")  # `Dr.Juan`
LOWER_TITLE = r"\b(?:dra?|doctora?|sra?|mrs?|prof)\b\.?[ \t]+"

# fields `label: value`, by the type of the value, which extends to the end of its line or to the next label
_LABELS = {
    "NAME": (
        r"nombre(?:\s+y\s+apellidos)?|(?:primer|segundo)\s+apellido|apellidos?|nombre\s+(?:del?\s+)?paciente|"
        r"patient(?:['’]s)?\s+name|"
        r"(?:first|last|full)\s+name|surname|name|m[ée]dico(?:\s+(?:solicitante|responsable|peticionario|informante))?|"
        r"radi[óo]log[oa]|"
        r"facultativo|referring\s+(?:physician|doctor)|attending|ordering\s+provider|radiologist"
    ),
    "ADDRESS": (
        r"(?<!\ba )(?<!su )domicilio|direcci[óo]n|localidad\s*/\s*provincia|localidad|provincia|municipio|poblaci[óo]n|"
        r"(?<=\n)[ \t]*c\.?\s?p\.?|c[óo]digo\s+postal|(?:home\s+)?address|zip(?:\s+code)?"
    ),
    "DATE": (
        r"f(?:echa|\.)?\s*(?:de\s+)?(?:nac(?:imiento)?|ingreso|alta|exploraci[óo]n|realizaci[óo]n|informe|estudio|impresi[óo]n)\.?|"
        r"date\s+of\s+(?:birth|exam|service|study|admission|discharge)|(?:exam|study|admission|discharge|service)\s+date|dob"
    ),
    "HOSPITAL": (
        r"centro\s+(?:solicitante|peticionario|sanitario)|hospital\s+(?:de\s+origen|solicitante)|facility|institution"
    ),
}
_NEXT_LABEL = r"(?=\s{2,}|[ \t]+(?:N[ºo°]\s?Col|Sexo|Edad|Apellidos?|F\.|Fecha|NHC|DOB|MRN|Sex|Age)\b|[\n\r]|$)"
FIELDS: tuple[tuple[str, Pattern[str]], ...] = tuple(
    (kind, re.compile(rf"(?im)(?<![\w.])(?:{labels})[ \t]*:[ \t]*(?P<value>[^\n\r:]{{1,80}}?){_NEXT_LABEL}"))
    for kind, labels in _LABELS.items()
)

# labels that also occur in prose: what follows must look like a name
NAME_AFTER = re.compile(
    rf"(?P<label>(?i:\b(?:remitid[oa]\s+por|responsable\s+cl[ií]nic[oa]|firmad[oa](?:\s+por)?|fdo|informad[oa]\s+por|validad[oa]\s+por|"
    rf"m[ée]dico(?:\s+\w+)?|nombre\s+facultativo|(?:primer|segundo)\s+apellido|peticionario|informe\s+[^\n:]{{0,30}}imagen\s+de|"
    rf"dictated\s+by|(?:electronically\s+)?signed\s+by|reported\s+by|read\s+by|interpreted\s+by|reviewed\s+by|verified\s+by|"
    rf"referred\s+by|patient|paciente|nombre))\b[.:\s]{{0,3}}[ \t]*[:.]?\s{{0,3}})(?:{TITLE}\s*)?(?P<value>{NAME_RUN})"
)
SIGNATURE = re.compile(
    r"(?im)^[ \t]*(?:remitid[oa]\s+por|responsable\s+cl[ií]nic[oa]|firmado(?:\s+por)?|fdo|correspondencia|"
    r"(?:electronically\s+)?signed\s+by|"
    r"dictated\s+by)\b\s*[.:]*[ \t]*(?P<block>\S[^\n\r]{0,450})$"
)
TITLED = re.compile(rf"{TITLE}(?:[ \t]?\.)?:?[ \t]*(?P<value>{NAME_RUN})")
# the last name after a title of several people: `Drs. Smith and Jones`
COUPLED = re.compile(
    rf"\b(?:Drs|DRS|Dres|DRES|Doctors|Doctores|Doctoras)\b\.?[ \t]+{NAME_RUN}(?:[ \t]*,[ \t]*{NAME_RUN})*,?[ \t]+"
    rf"(?:and|&)[ \t]+(?P<value>{NAME_RUN})"
)
STUCK = re.compile(rf"\bDra?(?P<value>{TOKEN}(?:{_LINK}{TOKEN}){{0,4}})")
# people of a department, and relatives: a name follows the colon, or the relative
_STAFF = (
    r"firma|transcrit[oa]\s+por|transcribed\s+by|revisad[oa]\s+por|dictad[oa]\s+por|t[ée]cnico|technologist|technician|"
    r"enfermer[oa]|nurse|residente?|fellow|mir|next\s+of\s+kin"
)
_RELATIVES = (
    r"madre|padre|hij[oa]|espos[oa]|marido|mujer|herman[oa]|pareja|cuidadora?|tutora?|wife|husband|daughter|son|mother|"
    r"father|sister|brother|partner"
)
NAMED_STAFF = re.compile(rf"(?i:\b(?:{_STAFF}))[ \t]*:[ \t]*(?:{TITLE}\s*)?(?P<value>{NAME_RUN})")
NAMED_RELATIVE = re.compile(rf"\b(?i:{_RELATIVES})(?:[ \t]*:)?[ \t]+(?P<value>{NAME_RUN})")
# the name of an account: `Transcrito por: mlopez`
ACCOUNT = re.compile(
    r"(?i:\b(?:transcrit|dictad|informad|validad|firmad)[oa]\s+por|\b(?:transcribed|dictated|signed|verified)\s+by)"
    r"[ \t]*:[ \t]*(?!pendiente|pending|tutor|adjunt)(?P<value>[a-z]{2}[a-z0-9._]{2,})(?=[ \t]*(?:[\n,;]|\.(?!\w)|$))"
)
TITLED_LOWER = re.compile(
    rf"{LOWER_TITLE}(?P<value>(?:[^\W\d_]|-)+(?:[ \t]+(?!(?:m[ée]dic|dra?\b|doctor))(?:[^\W\d_]|-)+){{0,5}})"
)
CREDENTIALS = re.compile(rf"(?P<value>{TOKEN}(?:[ \t]+{TOKEN}){{1,3}}),[ \t]*(?:M\.?D|D\.?O|Ph\.?D|FRCR|MBBS|R\.?N)\b")
RUN = re.compile(NAME_RUN)

_ID_LABELS = (
    r"n\.?\s?h\.?\s?c|nass|nuss|cipa?|sip|dni|nif|nie|n[ºo°]\s?\.?\s?col(?:egiad[oa])?|col(?:egiad[oa])?\.?\s?n[ºo°]|"
    r"cdo\.?\s*n[ºo°]|colegiad[oa](?:\s+n[úu]mero|\s+n[ºo°])?|(?:n[úu]m(?:ero)?\.?|"
    r"n[ºo°])\s+(?:de\s+)?(?:historia(?:\s+cl[íi]nica)?|"
    r"exploraci[óo]n|episodio|petici[óo]n|estudio)|historia\s+cl[íi]nica(?:\s+n[ºo°])?|episodio|m\.?r\.?n|medical\s+record"
    r"(?:\s+(?:number|no|\#))?|record\s+number|accession(?:\s+(?:number|no|\#))?|patient\s+(?:id|number)|chart\s+(?:number|no)|"
    r"hosp\.?\s+(?:number|no)|h[ªº]\.?\s*(?:cl[íi]nica|c[ªl]?\.?)(?:\s*n[ºo°]\.?)?|"
    r"(?:n[úu]m(?:ero)?\.?|n[ºo°]\.?)\s*(?:de\s+)?(?:h[ªº]\.?(?:\s*(?:cl[íi]nica|c[ªl]?\.?))?|h\.?\s?c\.?|paciente)|ssn|social\s+security(?:\s+number)?|"
    r"pasaporte|passport|order\s+(?:number|no)|hospital\s+number|nhs(?:\s+number)?"
)
LABELLED_IDS: tuple[Pattern[str], ...] = (
    re.compile(r"(?im)^\W*(?:nhc|nass|cipa?|sip|dni|mrn|n[ºo°]\s?col|episodio)[ \t]*:[ \t]*(?P<value>[^\n\r]{2,30})$"),
    re.compile(
        rf"(?i)(?<![\w])(?:{_ID_LABELS})[ \t]*[.:#º°-]*[ \t]*(?P<value>(?=(?:[^\n\d]{{0,6}}\d){{3}})[a-z]{{0,4}}["
        r" -]?\d[\d/.-]*"
        r"(?:[ -][\d]+){0,3}-?[a-z]?)(?![\w])"
    ),
)
IDS: tuple[Pattern[str], ...] = (
    # the record number after a label that also means other things: `HC 123456`, not `HC negativos`
    re.compile(
        r"(?<!\w)(?:H\.?\s?C\.?|h\.\s?c\.?|[Hh]istoria|HISTORIA)[ \t]*(?:n[ºo°]\.?)?[ \t]*[.:#-]*[ \t]*"
        r"(?!\d{1,2}[/-]\d)(?P<value>\d[\d/-]{3,}\d)(?![\w])"
    ),
    re.compile(r"(?<![\w.])(?P<value>1\.[23]\.(?:\d+\.){3,}\d+)(?![\w])"),  # a UID of DICOM
    re.compile(r"(?i)\bIP(?:\s+address)?[ \t]*:?[ \t]*(?P<value>(?:\d{1,3}\.){3}\d{1,3})(?![\w]|\.\d)"),
    re.compile(
        r"N[ºo°]\s?Col\w*\.?\s*:?\s*(?P<value>\d[\d /.-]*\d)(?![\w])"
    ),  # also without a space after the name before it
    re.compile(r"(?<![\w.,-])(?P<value>\d{8}[ -]?[A-HJ-NP-TV-Z]|[XYZ]-?\d{7}-?[A-Z])(?![\w])"),  # DNI and NIE
    re.compile(
        r"(?<![\w.,-])(?P<value>\d{2}[ /-]\d{8}[ /-]\d{2}|\d{3}-\d{2}-\d{4})(?![\w.,-]*\d)"
    ),  # social security: ES, US
    re.compile(
        r"(?<![\w])(?P<value>[A-Z]{1,4}-?\d{7,}|[A-Z]{2,4}-\d{5,}|\d{10,}|nhc-?\d+)(?![\w])"
    ),  # accession and record numbers
)

_PHONE = r"\(?\+?\d[\d ()./-]{4,20}\d"
LABELLED_PHONES: tuple[Pattern[str], ...] = (
    re.compile(
        rf"(?i)(?<![\w])(?:tel(?:f|ef|[ée]fonos?)?|tfno?s?|tlfn?o?s?|m[óo]vil|fax|busca|phone|mobile|cell|pager|ext)\b"
        rf"(?:[ \t]*(?:[.:]|y\s+fax|o\s+fax|n[ºo°])){{0,4}}[ \t]*(?P<value>{_PHONE}(?:[ \t]*[/;,y-][ \t]*{_PHONE})*)"
    ),
)
SHORT_NUMBERS = re.compile(
    r"(?i)(?<![\w])(?:pager|bleep|busca|ext(?:ensi[óo]n)?)\.?[ \t]*[:#]?[ \t]*(?P<value>\d{3,6})(?![\w]|[.,]\d)"
)
PHONES: tuple[Pattern[str], ...] = (
    re.compile(r"(?<![\w.,/+-])(?P<value>(?:\+|00)\d{2,3}[ .-]?\d(?:[ .-]?\d){7,10})(?![\w]|[.,]\d)"),
    re.compile(
        r"(?<![\w.,/+-])(?P<value>[6-9]\d{8}|[6-9]\d{2}([ .-])\d{3}\2\d{3}|[6-9]\d{2}([ .-])\d{2}\3\d{2}\3\d{2}|"
        r"9\d[ .-]\d{3}([ .-])\d{2}\4\d{2})(?![\w]|[.,/-]\d)"
    ),
    re.compile(r"(?<![\w.,/+-])(?P<value>\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([ .-])\d{3}\2\d{4})(?![\w]|[.,]\d)"),
)
EMAILS: tuple[Pattern[str], ...] = (
    re.compile(r"(?P<value>[^\s@<>()\[\],;:]+@[^\s@<>()\[\],;:]*\w)"),
    re.compile(r"(?i)(?P<value>[\w.+-]+[ \t]*[\[(][ \t]*(?:at|arroba|@)[ \t]*[\])][ \t]*[\w-]+(?:\.[\w-]+)+)"),
    re.compile(r"(?i)(?<![\w])e-?mail(?:\s+autor)?\s*[:.]\s*(?P<value>[\w.+-]+(?:@|\s+at\s+)[\w.-]+)"),
)
URLS: tuple[Pattern[str], ...] = (re.compile(r"(?i)\b(?P<value>(?:https?://|www\.)[^\s<>]+)"),)

MONTH_ES = "enero|febrero|marzo|abril|mayo|junio|julio|agosto|sep?tiembre|octubre|noviembre|diciembre"
_MONTH_CA = "gener|febrer|març|maig|juny|juliol|agost|setembre|novembre|desembre"
_MONTH_EN = (
    "January|February|March|April|May|June|July|August|September|October|November|December|"
    "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
)
_MONTH_EN = f"(?:{_MONTH_EN}|{_MONTH_EN.upper()})"
_MONTH_SHORT = "ene|feb|mar|abr|may|jun|jul|ago|sep|sept|oct|nov|dic|jan|apr|aug|dec|gen|mai"
_MONTH_ROMAN = "I{1,3}|IV|VI{0,3}|IX|XI{0,2}"
_YEAR = r"(?:19|20)\d{2}"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MON = r"(?:0?[1-9]|1[0-2])"
_NO_UNIT = r"(?!\s*(?:x|×|mm|cm|mg|ml|cc|kg|µ|%|meses|semanas|d[íi]as|horas|comp|cp)(?![\w]))"
_OPEN, _CLOSE = r"(?<![\w.,/-])", r"(?![\w]|[./-]\d|,\d)"
DATES: tuple[Pattern[str], ...] = tuple(
    re.compile(rf"{_OPEN}(?P<value>{body}){_CLOSE}{_NO_UNIT}")
    for body in (
        rf"{_YEAR}[-/.]{_MON}[-/.]{_DAY}(?:[T ]\d\d:\d\d(?::\d\d)?)?",
        rf"(?:{_DAY}\s?[/.·-]\s?{_MON}|{_MON}\s?[/.·-]\s?{_DAY})\s?[/.·-]\s?{_YEAR}",
        rf"(?:{_DAY}\s?/\s?{_MON}|{_MON}/{_DAY})\s?/\s?\d{{2}}",
        r"(?:0[1-9]|[12]\d|3[01])([-.])(?:0[1-9]|1[0-2])\2\d{2}",
        rf"{_MON}[/-]{_YEAR}",
        rf"{_YEAR}[/-](?:0[1-9]|1[0-2])",
        rf"{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])",
        rf"(?i:{_DAY}\s?[ºª]?(?:\s*(?:de|-|/|d['’])\s*|\s+)(?:{MONTH_ES}|{_MONTH_CA})"
        rf"(?:\s*(?:,|de[l]?|-|/)?\s*(?:año\s+)?{_YEAR}|[-/.]\d{{2}}(?!\d))?)",
        rf"(?i:(?:{MONTH_ES}|{_MONTH_CA})(?:\s*(?:,|de[l]?|-|/)\s*(?:año\s+)?|\s+){_YEAR})",
        rf"{_DAY}[- ]?(?i:{_MONTH_SHORT})[- ]{_YEAR}",
        rf"{_DAY}(?i:{_MONTH_SHORT})(?:{_YEAR}|\d{{2}})",
        rf"{_DAY}([-/.])(?i:{_MONTH_SHORT})\.?\2(?:{_YEAR}|\d{{2}})",
        rf"{_DAY}([-/.])(?:{_MONTH_ROMAN})\2(?:{_YEAR}|\d{{2}})",
        rf"(?:{_MONTH_ROMAN})/{_YEAR}",
        rf"(?i:{_MONTH_SHORT})[-/](?:{_YEAR}|[0-3]\d)",
        rf"{_DAY}(?:st|nd|rd|th)?[- ](?:of\s+)?{_MONTH_EN}\.?(?:,?[- ](?:{_YEAR}|\d{{2}}))?",
        rf"{_MONTH_EN}\.?\s+{_DAY}(?:st|nd|rd|th)?(?:,?\s+{_YEAR})?",
        rf"{_MONTH_EN}\.?,?\s+(?:of\s+)?{_YEAR}",
    )
)
# a day and a month without a year look like a fraction: only after an examination, and never a half or a third
DAY_AND_MONTH = re.compile(
    rf"(?i)\b(?:TC|TAC|CT|RM|MRI?|PET|Rx|eco|estudio|study|exam|scan|control|informe|report|radiograf[íi]a|radiograph|"
    rf"anterior|previ[oa]|prior|previous|compara(?:do|da|tivo)|comparison|fecha|ingreso|alta)\b[ \t:]*"
    rf"(?:(?:previ[oa]|anterior|prior|t[óo]rax|chest|tor[áa]cic[oa]|abdomen|realizad[oa]|performed|con|"
    rf"fecha)[ \t]+){{0,3}}"
    rf"(?:de(?:l|\s+fecha)?|of|from|on|dated|d[íi]a|el|\()[ \t]*(?:d[íi]a[ \t]+)?"
    rf"(?![1-4]/[2-5](?!\d))(?P<value>{_DAY}/{_MON}|{_MON}/{_DAY}|(?:0[1-9]|[12]\d|3[01])-(?:0[1-9]|1[0-2]))"
    r"(?![\w]|[./-]\d|,\d)(?!\s*(?:x|×|mm|cm|mg|ml|cc|kg|%|meses|semanas|d[íi]as|años|months|weeks|days|costillas|segmentos|ribs|slices|cortes|im[áa]genes|images)(?![\w]))"
)
BORN = re.compile(
    rf"(?i)\b(?:fecha\s+(?:de\s+)?nacimiento|f\.?\s?nac(?:imiento)?|date\s+of\s+birth|dob)\b\W{{0,4}}(?P<value>{_YEAR})\b"
)
BIRTHDAY = re.compile(rf"\bF\.?\s?N\.?[ \t:]{{1,3}}(?P<value>{_DAY}[-/. ]{_MON}[-/. ](?:{_YEAR}|\d{{2}}))(?![\w])")

# in a text without capitals and colons a field ends where the next one begins
_LOWER_FIELD = (
    r"(?=["
    r" \t]+(?:nhc|n[ºo°]|fecha\s+del?|tel[ée]fono|domicilio|dni|sip|cip|edad|sexo|m[ée]dico|hospital|centro|record|"
    r"date|phone)\b|[ \t]*\[)"
)
PATIENT_LOWER = re.compile(
    rf"\b(?:paciente|patient)[ \t]+(?P<value>[^\W\d_]+(?:[ \t]+(?:[^\W\d_]|-)+){{1,5}}?){_LOWER_FIELD}"
)
ADDRESS_LOWER = re.compile(r"\bdomicilio[ \t]+(?P<value>[^\n\[\]:.]{3,60}?[ \t]\d{5}[ \t]+[^\W\d_]+)")

_STREET = (
    r"(?:[Cc]\s?/(?!\s*(?i:contraste|civ|cic|iv\b|s/|sin\b|con\b|\d))|Calle|calle|CALLE|Avda?\.?|AVDA\.?|avda\.?|Avenid[ao]|avenida|AVENIDA|Ctra\.?|Carretera|Carr\.|Pº\.?|Urb\.|"
    r"Urbanización|Polígono)"
)
# these words also occur in prose, so capitals must follow them
_WEAK_STREET = (
    r"(?:C\.(?=[ \t]+[A-ZÁÉÍÓÚÑ][a-záéíóúñ])|Av\.?|Plaza|PLAZA|Pza\.?|Pl\.|Paseo|PASEO|Camino|Ronda|Travesía|"
    r"Trav\.|Rambla|Glorieta|Plaça|PLAÇA|"
    r"Carrer|Passeig|Avinguda|"
    r"Barrio|Cuesta|Gran\s+[Vv]ía)"
)
_NUMBER = (
    r"(?:(?:n[ºo°úu]m?\.?\s*|#|[Kk]m\.?\s*)?\d{1,5}(?:[.,]\d{3})?(?:[-–/]\d{1,4})?\s?[A-Za-z]?(?![\w])|"
    r"[sS]\s?/\s?[nN]\b|S/N|SN\b)"
    r"(?![ \t]*(?i:ml|cc|cm3|cm|mm3|mm|mg|dl|cl|l|gr?|kg|hu|uh|gy|kv|ma|×|x|d[íi]as|años|meses)(?![\w]))"
)
_FLOOR = (
    r"(?:[ \t]*[,.º°ª-]?[ \t]*(?:\d{1,2}\s?[ºo°ª]?\s?[A-F]?(?![\w])|[A-F](?![\w])|piso|puerta|pta\.?|planta|bajo|Bajo|"
    r"[ée]sc\.?|Esc\.?|dcha\.?|izq[.a-z]*|"
    r"bloque|local|portal))"
)
_TOWN = rf"{STOP}[{UP}][\w’'´·-]+(?:[ \t]+(?:de[l]?[ \t]+|la[ \t]+|los[ \t]+|y[ \t]+)*[{UP}][\w’'´·-]+){{0,4}}"
_STATE = (
    "(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|"
    "W[AIVY])"
)
_POSTAL = r"(?:E-|C\.?P\.?\s*)?(?:0[1-9]|[1-4]\d|5[0-2])\d{3}"
_REST_OF_ADDRESS = rf"{_NUMBER}{_FLOOR}{{0,6}}(?:[ \t.,·(-]*{_POSTAL}(?![\w])(?:[ \t.,()-]*{_TOWN}){{0,3}})?"
# where somebody is from can matter to the diagnosis, and names nobody
_COUNTRIES = (
    "Espa[ñn]a|Spain|Marruecos|Morocco|Ecuador|Colombia|Per[úu]|Bolivia|Argentina|Bra[sz]il|Venezuela|M[ée]xico|Chile|Cuba|"
    "Paraguay|Uruguay|Honduras|Nicaragua|Guatemala|Rep[úu]blica|Ruman[íi]a|Romania|Bulgaria|Ucrania|Ukraine|Rusia|Russia|"
    "Polonia|Poland|Portugal|Francia|France|Italia|Italy|Alemania|Germany|Reino|United|Inglaterra|England|China|India|"
    "Pakist[áa]n|Filipinas|Philippines|Senegal|Nigeria|Ghana|Mal[íi]|Guinea|Argelia|Algeria|Am[ée]rica|[ÁA]frica|Asia|Europa"
)
# a town without its address: only one that is known
FROM_TOWN = re.compile(
    r"(?i:remitid[oa]\s+(?:desde|de)|trasladad[oa]\s+(?:desde|de)|procedente\s+de|transferred\s+from)[ \t]+"
    rf"(?P<value>{_TOWN})"
)
ADDRESSES: tuple[Pattern[str], ...] = (
    re.compile(rf"(?<![\w/])(?P<value>{_STREET}[ \t]*(?:[^\n\d:;@=/]{{2,70}}?)[ \t,.:]*{_REST_OF_ADDRESS})"),
    re.compile(rf"(?<![\w/])(?P<value>{_WEAK_STREET}[ \t]+(?:{PARTICLE}[ \t]+)*{_TOWN}[ \t,.:-]*{_REST_OF_ADDRESS})"),
    re.compile(
        rf"(?P<value>\b\d{{1,5}}[ \t]+(?:[NSEW]\.?[ \t]+)?[{UP}][\w'’.-]+(?:[ \t]+[{UP}][\w'’.-]+){{0,3}}["
        r" \t]+(?:Street|"
        rf"St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|"
        rf"Dr|Boulevard|Blvd|Court|Ct|Way|Square|Terrace|Close)\b\.?(?:,?[ \t]*(?:Apt|Suite|Flat|"
        rf"Unit)\.?[ \t]*\w+)?(?:,[ \t]*{_TOWN})?"
        r"(?:,?[ \t]*[A-Z]{2}[ \t]+\d{5}(?:-\d{4})?|,?[ \t]*[A-Z]{1,2}\d[A-Z\d]?[ \t]*\d[A-Z]{2})?)"
    ),
    re.compile(rf"(?P<value>\b{_TOWN},[ \t]*{_STATE}[ \t]+\d{{5}}(?:-\d{{4}})?)\b"),
    re.compile(
        r"\b(?i:natural\s+de|nacid[oa]\s+en|reside(?:nte)?\s+en|vive\s+en|vecin[oa]\s+de|empadronad[oa]\s+en|born\s+in|"
        rf"lives\s+in)[ \t]+(?!(?:{_COUNTRIES})\b)(?P<value>{_TOWN})"
    ),
    re.compile(r"(?P<value>(?i:p\.?\s?o\.?\s+box|apartado(?:\s+de\s+correos)?|apdo\.?)[ \t]+(?:postal[ \t]+)?\d{1,6})"),
)

# a postal code and its town: numbers of cells look alike, so the town must be known
POSTAL = re.compile(
    rf"(?<![\w.,/-])(?P<value>{_POSTAL}[ \t,.-]+(?P<town>{_TOWN})(?:[ \t]*[,.(-]+[ \t]*(?:España|Spain))?)"
)

# marks that another tool has set around what it found; its opening mark names the type
MARKS = {"NAME": "NAME", "FECHA": "DATE", "NUM": "ID", "DIR": "ADDRESS", "LOC": "ADDRESS", "INST": "HOSPITAL"}
MARKED = re.compile(rf"<({'|'.join(MARKS)})>[^<\n]*</\1>(?:[ \t]+<\1>[^<\n]*</\1>)*")
TAG = re.compile(r"\[[A-Z_]{2,12}\]|</?[A-Z_]{2,12}>")

# the provinces of Spain, their capitals and the towns whose hospitals the reports name most
PLACES = frozenset(
    """
albacete alicante alacant almeria avila badajoz barcelona bilbao burgos caceres cadiz cantabria castellon castello ceuta
ciudad cordoba coruna cuenca donostia elche elda gandia gerona girona getafe gijon granada guadalajara huelva huesca
jaen jerez lerida lleida logrono lugo madrid malaga mallorca manresa melilla mostoles murcia navarra orense ourense
oviedo palencia pamplona pontevedra sabadell sagunto salamanca santander santiago segovia sevilla soria tarragona
tenerife terrassa teruel toledo torrevieja tudela valencia valladolid vigo vitoria vizcaya zamora zaragoza alcoy alzira
denia xativa orihuela requena vinaros villajoyosa burjassot torrent paterna benidorm boston london chicago houston
""".split()
)
CLOCK = re.compile(r"(?<![\w.,])\d{1,2}\s?:\s?\d{2}(?:\s?:\s?\d{2})?(?![\w])")

# in a signature line: what names a job, a department or a kind of house, and so nobody
DEPARTMENT = re.compile(
    r"(?i)^(?:dra?|drs|md|m\.d|phd|frcr|facr|on|at|sello|del|tiempo|servici?o|servei|secci[óo]n|unidad|unitat|departament[o]?|"
    r"dpto|jefe|adjunt[oa]|m[ée]dic[oa]|pediatra|radi[óo]log[oa]|correo|"
    r"electr[óo]nico|e-?mail|email|autor|tel|tfn?o?|tlf|tel[ée]fono|fax|interna|general|cirug[íi]a|medicina|familiar|urgencias|aparato|"
    r"pl[áa]stica|maxilofacial|oral|torácica|vascular|cardiaca|dolor|cuidados|intensivos|patol[óo]gica|anatom[íi]a|nuclear|digestivo|"
    r"infecciosas|enfermedades|hospital|hospitalario|complejo|centro|cl[íi]nica|instituto|universidad|facultad|espa[ñn]a|"
    r"\w+(?:log[íi]a|tr[íi]a|g[íi]a|m[íi]a|tolog[íi]a|nimaci[óo]n|trici[óo]n|terapia))[.,:]*$"
)
ADDRESS_WORD = re.compile(r"(?i)^(?:s/n|c/|n[ºo°.]*|km[.,]*|dcha[.,]*|izda?[.,]*|piso|bajo|-|–|#|º|\(.*|&|[-–/]\S*)$")

# people whose names are words of medicine
EPONYMS = frozenset(
    """
addison adson albers alport alzheimer apert arnold asherman babinski bacinski baker bankart barrett barre bartholin
barton bartter basedow bassini bazin behcet bell bence bennett bergman berger bernard billroth blalock blumberg
bochdalek bosniak botallo bowen bowman breslow broca brodie brown brucella brugada bruns bryant buckberg budd buerger
burkitt caldwell calot calve cantlie carney caroli castleman chagas charcot chiari chopart christian clark cobb codman
colles concato conn cooley coombs cooper cori cornelia couinaud courvoisier crohn crouzon cruveilhier cushing dandy
dejerine denonvilliers doppler dorfman douglas down dressler dubin duchenne dupuytren duret ebstein edwards ehlers
eisenmenger epstein erdheim ewing fabry fallot fanconi fick fleischner fontan forestier fournier foville fowler fox
frantz friedreich galeazzi galen gardner gaucher gerota giemsa gilbert gleason glasgow glisson golgi goodpasture gorlin
gottron gram grave graves grawitz guerin guillain guthrie hamman hampton hansen hartmann hashimoto henle henoch henry
hickman hill hippel hirschsprung hodgkin hoffman horner hounsfield howell hughes hunt huntington hutchinson jackson
jakob jeune johnson jones kaposi kartagener kawasaki kehr kerley kienbock killip kimura klatskin kleinert klippel koch
kohler kohn kocher krukenberg kupffer langerhans larrey lasegue legg leriche leydig lhermitte lindau lisfranc littre
loffler louis louw lowenstein luschka lutembacher luys lynch mallory marfan martin mccune mckusick meckel meigs
mendelson meniere merkel milroy mirizzi monro monteggia morgagni morris morton muller munchausen murphy naffziger nelson
neer nissen noonan osgood osler paget pancoast panton papanicolaou parkinson pautrier perthes peutz peyer peyronie pick
plummer poland poncet pott potts poupart prinzmetal purkinje quincke ranke ranson rasmussen raynaud reed reiter rendu
retzius reye rich richter riedel robin robson romberg rosai roux sanders sarmiento scheuermann schatzker schmorl
schonlein schwann seldinger sengstaken sertoli shaver shone sjogren smith spiegel stanford stafne stanley starling stein
sternberg stevens stewart still sturge swan sweet swyer takayasu takotsubo taussig thomas thomsen aquiles achilles
silvio sylvius falopio eustaquio varolio rolando adan eva cupido tinel todd tourette towne trendelenburg treitz turner
valsalva vater verner virchow volkmann wagner waldenstrom wallenberg warthin waterhouse weber wegener wells werner
wernicke westermark whipple wilkie williams willis wilms wilson wolff wright young zenker ziehl zollinger ganz kveim
marshall monaldi heimlich eloesser delorme clagett ashman
""".split()
)
# names that are also words of Spanish or English reports: not replaced merely because they were a name elsewhere
PLAIN_WORDS = frozenset(
    """
abril alba alta amor angeles antigua asuncion barba barrera bella blanca blanco bravo bueno buena cabello cabeza calle
calvo camino campo campos cano caballero cara casa casado castillo cerdo cima claro clara clemente concepcion conde
consuelo cordero corral correa corredor corte cortes costa costilla crespo cruz cuello cuenca cuesta del delgado dolores
dorado duro encarnacion espejo esperanza espina estrella exposito fe ferrer fuente fuentes gallego gallo gloria gordo
grande guerra hierro hurtado iglesia iglesias izquierdo jardin julio lago lara leal leon llano lobo lozano luna luz
macias manso manzano mar marco marcos mayor maria medina mercado mercedes merino mesa mesas milagros mira molina montes
mora moral moreno moya navarro nieto nieves nunez oliva olmo oro padron palma palmas pardo pared paredes parra pascual
pastor patron paz pena pico pilar pino pinto plaza plata ponce pozo prado prieto puente puerta puerto punta quintana
ramos real redondo reina remedios rey reyes rico rivera roble rocio rojo roldan romero rosa rosario rubio ruiz salvador
salud sol solana solis soledad soler soria sosa terminal tierra toro torre torres trigo valle vega vera verde vicente
victoria vidal virgen young long short white black brown green gray grey may april june hand foot head back wall rice
stone wood woods small little sharp bone bones banks marsh field fields hall house park parks hill hills rivers lake
brooks page price best grace hope faith joy summer autumn rose daisy lily art miles rod ray bill mark will grant case
chance gene pierce cross wise good free love strong power hardy bright noble pope bishop king
""".split()
)
