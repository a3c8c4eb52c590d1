"""The English rules of `changes.py`."""

import re

from bimcvr.data.counterfactual.language_rules import MEASURE, START, Rules, any_of, mirrored, rewrites

_BE = r"(?:is|are|was|were)"
_SHOW = r"(?:shows?|showed|contains?|contained|demonstrates?|demonstrated|reveals?|revealed|exhibits?|exhibited)"
_SEEN = (
    r"(?:seen|present|identified|noted|visible|visuali[sz]ed|demonstrated|observed|found|detected|evident|apparent|"
    r"depicted|appreciated)"
)
_LIE = r"(?:lies?|arises?|surrounds?|occup(?:ies|y))"
_STATE = (
    r"(?:enlarged|dilated|thickened|increased|atelectatic|collapsed|calcified|displaced|widened|elevated|distended|ectatic|"
    r"aneurysmal|tortuous|curved|opacified|consolidated|effaced|compressed|infiltrated|narrowed|stenotic|occluded|"
    r"hyperinflated|emphysematous|fractured|herniated)"
)
_INDEFINITE = START + r"(?!(?:the|this|these|both|it|its)\b)"
_EXAMINATION = r"(?:chest |thoracic )?(?:ct|mri|x-?ray|radiograph|exam\w*|study|images?|pa|ap|post)|technique|reason"
_FINITE = rf"\b(?:{_BE}|has|have|had|may|could|suggests?|{_SHOW}|{_LIE}|which|who|measures?|remains?|appears?|there)\b"
_NOUN = rf"(?:(?!(?<!that )\b(?:{_BE}|has|have|{_SHOW}|{_LIE}|which|who|there)\b)[^:;])+?"
_GRADES_EN = {
    "small": "large",
    "large": "small",
    "tiny": "large",
    "trace": "large",
    "huge": "tiny",
    "mild": "severe",
    "severe": "mild",
    "slight": "marked",
    "marked": "slight",
    "minor": "massive",
    "massive": "minor",
    "minimal": "massive",
    "moderate": "minimal",
    "medium-sized": "tiny",
    "mild to moderate": "severe",
    "mild-to-moderate": "severe",
    "mild-moderate": "severe",
    "moderate to severe": "minimal",
    "moderate-to-severe": "minimal",
    "moderate to large": "minimal",
    "small to moderate": "massive",
    "advanced": "mild",
    "slightly": "markedly",
    "mildly": "severely",
    "markedly": "slightly",
    "severely": "mildly",
    "moderately": "minimally",
    "minimally": "markedly",
    "massively": "minimally",
    "massively enlarged": "slightly enlarged",
    "partial": "complete",
    "incomplete": "complete",
    "complete": "partial",
    "total": "partial",
    "patchy": "widespread",
    "scattered": "widespread",
    "widespread": "patchy",
    "extensive": "limited",
    "diffuse": "patchy",
    "segmental": "lobar",
    "lobar": "segmental",
    "limited": "confluent",
    "confluent": "limited",
}
_WHOLE = r"(?:collapse|atelectasis|volume|obstruction|occlusion|opacification|lung|lobar)"

ENGLISH = Rules(
    sides=mirrored(
        [
            ("right", "left"),
            ("right-sided", "left-sided"),
            ("rightward", "leftward"),
            ("rightwards", "leftwards"),
            ("dextroscoliosis", "levoscoliosis"),
            ("right middle lobe", "lingula"),
            ("right lung middle lobe", "left lung lingula"),
        ]
    )
    | {
        "middle lobe": "lingula",
        "lingular": "right middle lobe",
        "lingular segment": "right middle lobe",
        "left lung upper lobe lingular segment": "right lung middle lobe",
        "left upper lobe lingular segment": "right middle lobe",
        "left lingula": "right middle lobe",
        "lingula of the left upper lobe": "right middle lobe",
        "lingular segment of the left upper lobe": "right middle lobe",
        **{f"right middle and lower lobe{s}": "lingula and left lower lobe" for s in ("", "s")},
        **{f"right upper and middle lobe{s}": "left upper lobe and lingula" for s in ("", "s")},
    },
    side_codes=mirrored([("RUL", "LUL"), ("RLL", "LLL")]) | {"RML": "lingula"},
    no_side=any_of(
        r"right (?:away|now|angles?\b)",
        r"right-angled?",
        r"all right",
        r"left (?:in (?:place|situ)|out|behind|over|alone)\b",
        r"(?:was|were|been) left\b(?! (?:sided|lung|lobe))",
        r"left (?:anterior descending|circumflex|main (?:coronary|stem))",
        r"right middle (?=zone|lung zone|ear)",
    ),
    right=re.compile(r"right|middle|dextro|RUL|RML|RLL"),
    both_sides=any_of(
        r"bilateral(?:ly)?\b", r"both\b", r"bibasal\b", r"bibasilar\b", r"biapical\b", r"each (?:side|lung)\b"
    ),
    lobes={
        f"{at} {place}{s}": f"{to} {place}{s}"
        for at, to in (("upper", "lower"), ("lower", "upper"))
        for place in ("lobe", "zone", "lung zone", "lung field")
        for s in ("", "s")
    }
    | {
        "right middle lobe": "right lower lobe",
        "middle lobe": "right lower lobe",
        "lingula": "left lower lobe",
        "right lung middle lobe": "right lung lower lobe",
        "left lung lingula": "left lung lower lobe",
        "upper lobe lingular segment": "lower lobe",
        "left lingula": "left lower lobe",
        "lingular": "left lower lobe",
        "lingular segment": "left lower lobe",
    },
    lobe_codes={"RUL": "RLL", "RLL": "RUL", "LUL": "LLL", "LLL": "LUL", "RML": "RLL"},
    sizes=_GRADES_EN,
    no_size=any_of(
        r"(?:large|small)[ -](?:airways?|vessels?|bowel|bore|cell|intestines?|volume residual)\b",
        r"severe acute respiratory",
        rf"(?:partial|complete|incomplete|total)(?! (?:\w+ )?{_WHOLE})(?!-)\b",
        r"(?:segmental|lobar)(?! (?:consolidation|air))\b",
        r"too (?:small|large)\b",
        r"limited (?:study|exam\w*|evaluation|assessment|by|due|view|sensitivity|in)\b",
        r"(?:marked|limited) (?:by|with|on|at)\b",
        r"(?:previously|formerly|prior|from|was|then|less than|smaller than|under|below|greater than|larger than|more"
        r" than|over|"
        r"at least)\s+(?:about |approximately |approx\. )?\d[^;.]{0,25}",
        r"(?:slices?|slice thickness|collimation|intervals?|reconstruct\w*|sections?)\b[^;.]{0,20}\d[\d.]* ?mm\b",
        r"\d[\d.]* ?-?mm (?:thick |axial |contiguous |slice |section"
        r" )*(?:slices?|sections?|collimation|cuts|intervals?|reconstruct\w*)",
        r"advanced (?:age|life)",
    ),
    leads=re.compile(
        rf"(?:(?:an?|some|several|multiple|numerous|many|few|two|three|new|stable|unchanged|similar|persistent|possible|probable|{MEASURE}|"
        rf"{'|'.join(sorted(_GRADES_EN, key=len)[::-1])}|"
        r"(?:amount|collection|quantity|cluster)s? of)\b,?\s+(?:and (?=(?:mild|small|patchy)\b))?)+",
        re.IGNORECASE,
    ),
    denial=any_of(
        r"no(?! (?:longer|doubt))\b",
        r"not(?! only)\b",
        r"without\b",
        r"absen(?:t|ce)\b",
        r"free of\b",
        r"negative\b",
        r"resolved\b",
        r"resolution of\b",
        r"unremarkable\b",
        r"normal(?:ly)?\b",
        r"clear(?:ed)?\b",
        r"den(?:y|ies|ied)\b",
        r"ruled? out\b",
        r"none\b",
        r"nor\b",
        r"neither\b",
        r"never\b",
        r"lack(?:s|ing)? ?(?:of)?\b",
        r"cannot\b",
        r"patent\b",
        r"preserved\b",
        r"intact\b",
        r"excluded?\b",
        r"unlikely\b",
        r"no longer\b",
        r"disappear\w*",
        r"(?:clinical )?(?:history|indication|technique|comparison)\s*:",
    ),
    cut=re.compile(
        r"(?<=[;,])\s*(?=no\b)|(?<=;)(?![^()]*\))|\b(?=(?:without|with no|but|however|although|and no)\b)",
        re.IGNORECASE,
    ),
    empty=any_of(
        r"other\b",
        r"additional\b",
        r"further\b",
        r"changes?\b(?= (?:since|from|in the)|\W*$)",
        r"significant change",
        r"interval\b",
        r"comparison\b",
        r"prior\b",
        r"previous\w*",
        r"contrast\b",
        r"complications?\b",
        r"longer\b",
        r"doubt\b",
        r"need\b",
        r"recommend\w*",
        r"correlation\b",
        r"included\b",
        r"follow-?up\b",
        r"relevant findings\b",
        r"allerg\w+",
        r"(?:acute |significant )?(?:findings|distress)\W*$",
        r"reconstructions?\b",
        r"technique\b",
    ),
    deny=rewrites(
        (rf"\b(?P<be>there {_BE})\s+(?P<adv>(?:also|again|now|still)\s+)?(?P<x>.+)$", "{be} {adv}no {x}"),
        (
            _INDEFINITE + rf"(?P<x>{_NOUN})(?P<verb>\s+(?:{_BE}|can be)\s+(?:\w+ly\s+|again\s+|also\s+|"
            rf"now\s+)?{_SEEN}\b.*)$",
            "{start}no {x}{verb}",
        ),
        (rf"(?P<verb>\b{_SHOW}\s+)(?!(?:that|the|both)\b)(?P<x>.+)$", "{verb}no {x}"),
        (
            rf"\b(?P<be>{_BE}|has|have)\s+(?:(?:\w+ly|also|again)\s+)?(?P<y>{_STATE})\b(?: to {MEASURE})?",
            "{be} not {y}",
        ),
        (_INDEFINITE + rf"(?P<x>{_NOUN})\s+(?:measures|reaches)\b[^.;]*{MEASURE}[^.;]*", "{start}there is no {x}"),
        (_INDEFINITE + rf"(?P<x>{_NOUN})\s+(?:measure|reach)\b[^.;]*{MEASURE}[^.;]*", "{start}there are no {x}"),
        (_INDEFINITE + rf"(?P<x>{_NOUN})(?P<verb>\s+{_LIE}\b.*)$", "{start}no {x}{verb}"),
    ),
    bare=(
        re.compile(
            START + rf"(?!.*{_FINITE})(?!.+\bunchanged\b)(?!(?:the|this|these|both|in|on|at|status|since|known|signs|"
            rf"{_EXAMINATION})\b)(?P<x>[^:]+)$",
            re.IGNORECASE | re.DOTALL,
        ),
        "{start}no {x}",
    ),
    affirm=rewrites(
        (rf"\b(?P<be>there {_BE})\s+no\s+(?P<x>.+)$", "{be} {a}{x}"),
        (START + rf"no\s+(?P<x>{_NOUN})(?P<verb>\s+(?:{_BE}|can be|has been|have been)\b.+)$", "{start}{a}{x}{verb}"),
        (START + r"no\s+(?P<x>.+)$", "{start}{x}"),
        (rf"(?P<verb>\b{_SHOW}\s+)no\s+(?P<x>.+)$", "{verb}{a}{x}"),
        (rf"\b(?P<be>{_BE}|has|have)\s+not\s+(?P<y>{_STATE}|{_SEEN})\b", "{be} {y}"),
        (r"\b(?:without|with no)\s+(?P<x>.+)$", "with {a}{x}"),
        (r"\bis\s+free of\s+(?P<x>.+)$", "contains {a}{x}"),
        (r"\bare\s+free of\s+(?P<x>.+)$", "contain {a}{x}"),
        (r"\bnegative for\s+(?P<x>.+)$", "positive for {x}"),
        (r"\babsence of\s+(?P<x>.+)$", "presence of {x}"),
        (r"(?P<comma>,\s+|\band\s+)no\s+(?P<x>.+)$", "{comma}{x}"),
    ),
    join=rewrites((r"\bn?or\b", "and"), (r"\bany\s+", "")),
)
