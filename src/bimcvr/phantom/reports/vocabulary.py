"""The English sentences of the reports: statements of each finding, negations, normal statements and fillers.

`{site}` stands for the lobe, side or station, `{size}` for a length or a graded word. A finding has
sentences with its size and sentences without. None says anything that is constant for a patient, and apart
from `{site}` none names a side of the body.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrases:
    """The sentences about one finding.

    Attributes:
        sized: sentences that state its size.
        plain: sentences that leave it out.
        negations: sentences that say it is absent.
        grades: the words for each graded size.
        sites: the words for a site, where they differ from its name.
    """

    sized: tuple[str, ...]
    plain: tuple[str, ...]
    negations: tuple[str, ...]
    grades: dict[str, tuple[str, ...]]
    sites: dict[str, str]


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
        (
            "There is a {size} {site} pleural effusion.",
            "A {size} {site}-sided pleural effusion is seen.",
            "A {size} collection of fluid lies in the {site} pleural space.",
        ),
        (
            "There is a {site} pleural effusion.",
            "Pleural fluid is seen on the {site}.",
            "Free fluid lies in the {site} pleural space.",
        ),
        ("No pleural effusion.", "There is no pleural fluid.", "The pleural spaces are free of fluid."),
        {"small": ("small", "minor"), "moderate": ("moderate", "medium-sized"), "large": ("large", "massive")},
    ),
    "pneumothorax": _phrases(
        (
            "There is a {size} {site} pneumothorax.",
            "A {size} {site}-sided pneumothorax is present.",
            "A {size} amount of free air lies in the {site} pleural space.",
        ),
        (
            "There is a {site} pneumothorax.",
            "A {site}-sided pneumothorax is present.",
            "Free air is seen in the {site} pleural space.",
        ),
        ("No pneumothorax.", "There is no evidence of pneumothorax.", "No free air in the pleural spaces."),
        {"small": ("small", "minor"), "moderate": ("moderate",), "large": ("large", "marked")},
    ),
    "atelectasis": _phrases(
        (
            "There is {size} atelectasis of the {site}.",
            "The {site} shows {size} collapse.",
            "There is {size} volume loss of the {site} in keeping with atelectasis.",
        ),
        (
            "There is atelectasis of the {site}.",
            "The {site} is atelectatic.",
            "Loss of volume of the {site} is consistent with atelectasis.",
        ),
        ("No atelectasis.", "There is no collapse of lung tissue.", "No evidence of atelectasis."),
        {"partial": ("partial", "incomplete"), "complete": ("complete", "total")},
    ),
    "consolidation": _phrases(
        (
            "There is {size} consolidation in the {site}.",
            "A {size} consolidation with air bronchograms is seen in the {site}.",
            "The {site} shows {size} air space consolidation.",
        ),
        (
            "There is consolidation in the {site}.",
            "The {site} contains a consolidation with air bronchograms.",
            "Air space consolidation is seen in the {site}.",
        ),
        ("No consolidation.", "There are no areas of consolidation.", "No air space consolidation is seen."),
        {"segmental": ("segmental", "limited"), "lobar": ("lobar", "confluent")},
    ),
    "mass": _phrases(
        (
            "There is a {size} mass in the {site}.",
            "A lobulated mass of {size} is seen in the {site}.",
            "The {site} contains a spiculated mass that measures {size}.",
        ),
        (
            "There is a mass in the {site}.",
            "A large spiculated mass is seen in the {site}.",
            "The {site} contains a lobulated mass.",
        ),
        ("No pulmonary mass.", "There is no mass in the lungs.", "No suspicious pulmonary mass is identified."),
    ),
    "bronchiectasis": _phrases(
        (
            "There is {size} bronchiectasis in the {site}.",
            "The bronchi of the {site} show {size} dilatation.",
            "A cluster of {size} bronchiectasis is seen in the {site}.",
        ),
        (
            "There is bronchiectasis in the {site}.",
            "The bronchi of the {site} are dilated with thickened walls.",
            "Bronchiectatic changes are seen in the {site}.",
        ),
        ("No bronchiectasis.", "The bronchi are of normal calibre.", "There is no bronchial dilatation."),
        {"mild": ("mild", "slight"), "severe": ("severe", "marked")},
    ),
    "ground glass": _phrases(
        (
            "There is {size} ground glass opacity in the {site}.",
            "The {site} shows {size} ground glass attenuation.",
            "A {size} ground glass pattern is seen in the {site}.",
        ),
        (
            "There is ground glass opacity in the {site}.",
            "The {site} shows ground glass attenuation.",
            "A ground glass pattern is seen in the {site}.",
        ),
        ("No ground glass opacities.", "There is no ground glass pattern.", "No areas of ground glass attenuation."),
        {"patchy": ("patchy", "scattered"), "extensive": ("widespread", "diffuse")},
    ),
    "nodule": _phrases(
        (
            "There is a {size} nodule in the {site}.",
            "A solid nodule of {size} is seen in the {site}.",
            "The {site} contains a pulmonary nodule that measures {size}.",
        ),
        (
            "There is a nodule in the {site}.",
            "A solid pulmonary nodule is seen in the {site}.",
            "The {site} contains a round nodule.",
        ),
        ("No pulmonary nodules.", "There are no nodules in the lungs.", "No nodular lesions are identified."),
    ),
    "adenopathy": _phrases(
        (
            "There is {site} adenopathy of {size}.",
            "An enlarged {site} lymph node conglomerate measures {size}.",
            "Enlarged {site} lymph nodes reach {size} in size.",
        ),
        (
            "There is {site} adenopathy.",
            "Enlarged {site} lymph nodes are seen.",
            "A conglomerate of {site} lymph nodes is present.",
        ),
        ("No adenopathy.", "There are no enlarged lymph nodes.", "No lymph nodes of pathological size."),
    ),
    "emphysema": _phrases(
        (
            "There is {size} {site} emphysema.",
            "The lungs show {size} emphysema, {site}.",
            "Bullae and {size} {site} emphysema are present.",
        ),
        ("There is {site} emphysema.", "The lungs show emphysema, {site}.", "Bullae and {site} emphysema are present."),
        ("No emphysema.", "There are no signs of emphysema.", "No emphysema or bullae."),
        {"mild": ("mild", "slight"), "moderate": ("moderate",), "severe": ("severe", "advanced")},
    ),
    "cardiomegaly": _phrases(
        (
            "There is {size} cardiomegaly.",
            "The heart shows {size} enlargement.",
            "There is {size} enlargement of the heart.",
        ),
        ("There is cardiomegaly.", "The heart is enlarged.", "The cardiac silhouette is increased."),
        ("No cardiomegaly.", "The heart is of normal size.", "Heart size is within normal limits."),
        {"mild": ("mild", "slight"), "moderate": ("moderate",), "severe": ("severe", "marked")},
    ),
    "pericardial effusion": _phrases(
        (
            "There is a pericardial effusion of {size}.",
            "Pericardial fluid measures up to {size} in thickness.",
            "A pericardial effusion with a thickness of {size} is seen.",
        ),
        (
            "There is a pericardial effusion.",
            "Fluid surrounds the heart within the pericardium.",
            "A collection of pericardial fluid is seen.",
        ),
        ("No pericardial effusion.", "There is no pericardial fluid.", "The pericardium is unremarkable."),
    ),
    "aortic calcification": _phrases(
        (
            "There is {size} calcification of the {site}.",
            "The {site} shows {size} calcified atheromatosis.",
            "Calcified plaques of {size} extent are seen in the {site}.",
        ),
        (
            "There is calcification of the {site}.",
            "The {site} shows calcified atheromatosis.",
            "Calcified plaques are seen in the {site}.",
        ),
        ("No aortic calcification.", "The aorta shows no calcified plaques.", "No calcified atheromatosis."),
        {"mild": ("mild", "slight"), "severe": ("severe", "marked")},
        {
            "arch": "aortic arch",
            "descending": "descending aorta",
            "arch and descending": "aortic arch and descending aorta",
        },
    ),
    "aortic aneurysm": _phrases(
        (
            "There is a {size} aneurysm of the {site} aorta.",
            "The {site} aorta is dilated to {size}.",
            "Aneurysmal dilatation of the {site} aorta measures {size}.",
        ),
        (
            "There is an aneurysm of the {site} aorta.",
            "The {site} aorta is dilated.",
            "Aneurysmal dilatation of the {site} aorta is seen.",
        ),
        ("No aortic aneurysm.", "The thoracic aorta is of normal calibre.", "There is no aortic dilatation."),
    ),
    "hiatal hernia": _phrases(
        (
            "There is a hiatal hernia of {size}.",
            "A {size} hiatal hernia lies behind the heart.",
            "A hiatal hernia that measures {size} is seen.",
        ),
        (
            "There is a hiatal hernia.",
            "A hiatal hernia lies behind the heart.",
            "Part of the stomach has herniated through the hiatus.",
        ),
        ("No hiatal hernia.", "There is no herniation through the hiatus."),
    ),
    "goiter": _phrases(
        (
            "There is a {site}-sided goiter of {size}.",
            "The {site} thyroid lobe is enlarged to {size}.",
            "A goiter of {size} arises from the {site} thyroid lobe.",
        ),
        (
            "There is a {site}-sided goiter.",
            "The {site} thyroid lobe is enlarged.",
            "A goiter arises from the {site} thyroid lobe.",
        ),
        ("No goiter.", "The thyroid gland is not enlarged.", "The thyroid is of normal size."),
    ),
    "pacemaker": _phrases(
        (),
        (
            "A {site}-sided pacemaker is present.",
            "There is a pacemaker in the {site} chest wall.",
            "A pacemaker generator lies in the {site} pectoral region.",
        ),
        ("No pacemaker.", "There are no implanted devices."),
    ),
    "scoliosis": _phrases(
        (
            "There is {size} scoliosis, convex to the {site}.",
            "The thoracic spine shows {size} {site} convex scoliosis.",
        ),
        (
            "There is scoliosis, convex to the {site}.",
            "The thoracic spine shows {site} convex scoliosis.",
            "The thoracic spine is curved, convex to the {site}.",
        ),
        ("No scoliosis.", "The thoracic spine is straight.", "Normal alignment of the thoracic spine."),
        {"mild": ("mild", "slight"), "severe": ("severe", "marked")},
    ),
    "hepatic steatosis": _phrases(
        ("There is {size} hepatic steatosis.", "The liver shows {size} fatty infiltration."),
        (
            "There is hepatic steatosis.",
            "The liver shows low attenuation due to fatty infiltration.",
            "Fatty infiltration of the liver is seen.",
        ),
        ("No hepatic steatosis.", "The liver is of normal density.", "There is no fatty infiltration of the liver."),
        {"mild": ("mild", "slight"), "severe": ("severe", "marked")},
    ),
}

# said only if none of the findings named first is there
NORMAL: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("atelectasis", "consolidation", "mass", "bronchiectasis", "ground glass", "nodule", "emphysema"),
        ("The lung parenchyma is normal.", "Both lungs are clear.", "The lungs show no abnormality."),
    ),
    (("pleural effusion", "pneumothorax"), ("The pleura is normal.", "Pleural spaces without abnormalities.")),
    (
        ("adenopathy", "goiter", "hiatal hernia", "aortic aneurysm"),
        ("The mediastinum is unremarkable.", "Mediastinal structures are normal."),
    ),
    (("cardiomegaly", "pericardial effusion"), ("The heart is unremarkable.", "Heart and pericardium are normal.")),
    (("aortic calcification", "aortic aneurysm"), ("The great vessels are normal.", "The aorta is unremarkable.")),
    (("hepatic steatosis",), ("The upper abdomen is unremarkable.", "No abnormality in the visible upper abdomen.")),
    (("scoliosis",), ("The bony thorax is normal.", "The skeleton is unremarkable.")),
)

FILLERS = (
    "Chest CT is reviewed in lung and mediastinal windows.",
    "Axial and coronal reconstructions were read.",
    "The trachea and the main bronchi are patent.",
    "No bone lesions of aggressive appearance are seen.",
    "No rib fractures are identified.",
    "The adrenal glands are not enlarged.",
    "The chest wall is preserved.",
    "No other relevant findings.",
    "Clinical correlation is recommended.",
    "The oesophagus is not dilated.",
    "No signs of pulmonary embolism in the central branches.",
    "The gallbladder is not included in full.",
)

# words by which a real archive's label column calls the findings; the others keep their own
LABELS = {"ground glass": "ground glass pattern"}
