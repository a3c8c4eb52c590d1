"""A curated folder with a review queue, as `curate` writes it, without a run of it."""

from pathlib import Path

import pandas as pd

from bimcvr.curation.review.queue import Question, append_questions
from curation.conftest import write_volume

FAILED = "Something wrong with the data!"
SPANISH = "Nódulo de 8 mm en el lóbulo superior derecho. Sin derrame pleural."
LOST = "Nodule of 6 mm in the left upper lobe. Pleural effusion."
SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
PROBLEMS = (
    "numbers lost: 8; numbers added: 6; right: 1 became 0 in sentence 1; left: 0 became 1 in sentence 1;"
    " negations: 1 became 0 in sentence 2"
)


def queued(folder: Path, source: str = "phantom", side: int = 32) -> Path:
    """Five studies of three patients, four of them in the queue; the volume of one is missing.

    Args:
        folder: where to write.
        source: of the rows; `phantom` marks them as synthetic.
        side: of the volumes, in voxels.
    """
    film = "Portable chest x-ray. Clear lungs on both sides."
    mixed = f"El derrame es de 3 cm. {SCRIPT} Cardiomegaly."
    rows = [
        ("s0", "P1", FAILED, SPANISH, "en", "placeholder", "review", ""),
        ("s1", "P1", SPANISH, SPANISH, "es", "", "review", "nodule"),
        (
            "s2",
            "P2",
            mixed,
            "",
            "en",
            "untranslated",
            "review",
            "pleural effusion",
        ),
        (
            "s3",
            "P3",
            film,
            "",
            "en",
            "wrong_modality;placeholder",
            "review",
            "",
        ),
        ("s4", "P3", "Small nodule in the right upper lobe.", "", "en", "", "ok", "nodule"),
    ]
    names = ("study_id", "patient_id", "report", "report_original", "language", "flags", "status", "labels")
    table = pd.DataFrame(rows, columns=list(names))
    table["volume"] = [f"{study}.nii.gz" for study in table["study_id"]]
    table["source"] = source
    table["labels_source"] = ["keywords" if labels else "" for labels in table["labels"]]
    table[["slices", "height", "width"]] = str(side)
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(table["volume"]):
        if not name.startswith("s3"):
            write_volume(folder / name, number, side)
    table.to_csv(folder / "manifest.csv", index=False)
    append_questions(
        folder / "review.csv",
        [
            Question("s0", "placeholder", FAILED, SPANISH),
            Question("s2", "untranslated", mixed),
            Question("s1", PROBLEMS, LOST, SPANISH),
            Question("s3", "wrong_modality", film),
        ],
    )
    return folder
