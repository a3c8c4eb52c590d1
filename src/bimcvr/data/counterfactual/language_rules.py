"""The types of the rules of `changes.py`: sides, lobes, sizes, negation cues and sentence patterns of a language.

The named groups of a pattern fill its template; `x` is the finding, `start` a title like "Lungs: ". In a template
`{a}` is the article that `x` needs. Negation cues follow NegEx (Chapman et al. 2001) and its Spanish
adaptations, reduced to what occurs in radiology reports.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

Rewrites = tuple[tuple[re.Pattern[str], str], ...]

# wordings of each finding; "+" joins words that must all occur in a statement, in any order
FINDING_SYNONYMS: dict[str, tuple[str, ...]] = {
    "pleural effusion": (
        "pleural effusion",
        "effusion",
        "fluid+pleural",
        "hydrothorax",
        "derrame pleural",
        "derrame",
        "líquido+pleural",
    ),
    "pneumothorax": ("pneumothorax", "pneumothoraces", "free air+pleural", "neumotórax"),
    "atelectasis": (
        "atelectasis",
        "atelectases",
        "atelectatic",
        "collapse",
        "volume loss",
        "loss of volume",
        "atelectasia",
        "atelectásico",
        "colapso",
        "pérdida de volumen",
    ),
    "consolidation": ("consolidation", "consolidative", "consolidación", "consolidaciones"),
    "mass": ("mass", "masa"),
    "nodule": ("nodule", "nodular lesion", "micronodule", "nódulo", "micronódulo"),
    "bronchiectasis": (
        "bronchiectasis",
        "bronchiectases",
        "bronchiectatic",
        "bronchi+dilated",
        "bronchi+dilatation",
        "bronchial dilatation",
        "bronquiectasia",
    ),
    "ground glass": ("ground glass", "ground-glass", "vidrio deslustrado", "vidrio esmerilado"),
    "adenopathy": (
        "adenopathy",
        "adenopathies",
        "lymphadenopathy",
        "lymph nodes+enlarged",
        "lymph node+enlarged",
        "lymph nodes+conglomerate",
        "adenopatía",
        "linfadenopatía",
        "ganglios+aumentados",
    ),
    "emphysema": ("emphysema", "emphysematous", "bullae", "enfisema", "bulla"),
    "cardiomegaly": (
        "cardiomegaly",
        "heart+enlarged",
        "heart+enlargement",
        "cardiac silhouette+increased",
        "cardiomegalia",
    ),
    "pericardial effusion": (
        "pericardial effusion",
        "pericardial fluid",
        "fluid+pericardium",
        "derrame pericárdico",
        "líquido+pericárdico",
    ),
    "aortic calcification": (
        "aorta+calcification",
        "aortic+calcification",
        "aorta+calcified",
        "aortic+calcified",
        "calcified atheromatosis",
        "calcificación+aorta",
        "calcificaciones+aorta",
        "ateromatosis+calcificada",
    ),
    "aortic aneurysm": (
        "aortic aneurysm",
        "aneurysm+aorta",
        "aneurysmal+aorta",
        "aorta+dilated",
        "aortic dilatation",
        "aneurisma+aorta",
        "aneurisma aórtico",
        "aorta+dilatada",
    ),
    "hiatal hernia": (
        "hiatal hernia",
        "hiatus hernia",
        "herniated+hiatus",
        "herniation+hiatus",
        "hernia de hiato",
        "hernia hiatal",
    ),
    "goiter": ("goiter", "goitre", "thyroid+enlarged", "bocio"),
    "pacemaker": ("pacemaker", "marcapasos"),
    "scoliosis": ("scoliosis", "dextroscoliosis", "levoscoliosis", "spine+curved", "escoliosis"),
    "hepatic steatosis": ("hepatic steatosis", "fatty liver", "liver+fatty", "esteatosis+hepática", "esteatosis"),
    "pulmonary embolism": (
        "pulmonary embolism",
        "pulmonary emboli",
        "pulmonary embolus",
        "filling defect",
        "thrombus",
        "tromboembolismo",
        "embolia pulmonar",
        "defecto de repleción",
        "trombo",
    ),
    "infiltrate": ("infiltrate", "infiltration", "opacity", "opacities", "airspace disease", "infiltrado", "opacidad"),
    "edema": ("edema", "oedema"),
    "fibrosis": ("fibrosis", "fibrotic", "fibrótico", "fibróticos"),
    "pleural thickening": ("pleural thickening", "pleural+thickened", "engrosamiento pleural"),
    "fracture": ("fracture", "fractura"),
    "metastasis": ("metastasis", "metastases", "metástasis"),
    "other lesion": (
        "lesion",
        "cyst",
        "scarring",
        "cavity",
        "calcified granuloma",
        "lesión",
        "lesiones",
        "quiste",
        "granuloma",
        "engrosamiento",
        "esplenomegalia",
        "hepatomegalia",
        "hepatomegaly",
        "splenomegaly",
    ),
}


@dataclass(frozen=True)
class Rules:
    """How one language expresses what a counterfactual changes.

    Attributes:
        sides: a phrase in lower case and its mirror image.
        side_codes: the same for abbreviations in capitals.
        no_side: where a word of `sides` means something else.
        right: matches the phrases of `sides` and `side_codes` that mean the right side.
        both_sides: words for both sides at once.
        lobes: a lobe and where it is moved to.
        lobe_codes: the same for abbreviations in capitals.
        sizes: a graded word and a clearly different one.
        no_size: where a graded word or a length is not the size of a finding.
        leads: articles, quantifiers and grades that a denial leaves out.
        denial: a statement with one of these affirms nothing.
        cut: where a new statement begins within a sentence.
        empty: text with one of these is not a finding that could be denied or affirmed.
        deny: sentences that affirm a finding, and their denials.
        bare: a finding without a verb, and its denial.
        affirm: denials, and what they deny affirmed.
        join: words of a list within a denial, and within an affirmation.
    """

    sides: Mapping[str, str]
    side_codes: Mapping[str, str]
    no_side: re.Pattern[str]
    right: re.Pattern[str]
    both_sides: re.Pattern[str]
    lobes: Mapping[str, str]
    lobe_codes: Mapping[str, str]
    sizes: Mapping[str, str]
    no_size: re.Pattern[str]
    leads: re.Pattern[str]
    denial: re.Pattern[str]
    cut: re.Pattern[str]
    empty: re.Pattern[str]
    deny: Rewrites
    bare: tuple[re.Pattern[str], str]
    affirm: Rewrites
    join: Rewrites


def fold(text: str) -> str:
    """Return a text in lower case and without accents; its length stays the same."""
    return text.translate(_PLAIN)


def mentions(text: str, synonyms: Sequence[str]) -> bool:
    """Return whether a text has one of a finding's wordings; accents, capitals and a plural s do not matter."""
    text = " ".join(fold(text).split())
    return any(all(pattern.search(text) for pattern in _words(synonym)) for synonym in synonyms)


@cache
def _words(synonym: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(rf"\b{re.escape(word.strip())}(?:e?s)?\b") for word in fold(synonym).split("+"))


def in_case_of(old: str, new: str) -> str:
    """Return the new word in capitals, or with an initial capital, if the old one was."""
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


_PLAIN = {code: chr(code).lower() for code in range(128)} | str.maketrans("áéíóúüñÁÉÍÓÚÜÑ", "aeiouunaeiouun")


def any_of(*patterns: str) -> re.Pattern[str]:
    """Return a pattern that matches any of `patterns`, each at the beginning of a word."""
    return re.compile(r"\b(?:" + "|".join(patterns) + r")", re.IGNORECASE)


def rewrites(*pairs: tuple[str, str]) -> Rewrites:
    """Compile (pattern, template) pairs, in their order of precedence."""
    return tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), template) for pattern, template in pairs)


def mirrored(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return pairs in both directions."""
    pairs = list(pairs)
    return dict(pairs) | {other: one for one, other in pairs}


# a number with its unit, or several: 12 mm, 1,5 cm, 12 x 8 mm, 3 cm x 2 cm, 70x45x40mm
_NUMBER, _UNIT = r"\d+(?:[.,]\d+)?", r"(?:mm|cm|(?:milli|centi)met(?:er|re)s?|(?:mil|cent)[ií]metros?)"
MEASURE = (
    r"(?<![\w.,/<>≤≥])(?<![<>≤≥] )(?<!sub-)"
    rf"(?:{_NUMBER}\s*(?:{_UNIT}\s*)?(?:[x×*-]|\bby\b|\bpor\b)\s*)*{_NUMBER}\s*-?{_UNIT}\b(?!\s*(?:/|Hg))"
)

START = r"(?P<start>^(?:[^\W\d_][\w ]{2,30}:\s+)?)"
