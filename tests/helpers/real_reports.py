"""Reports of the real volumes: what their readings say, as sentences."""

import json
from pathlib import Path


def lidc_report(data: Path, patient: str) -> str:
    """The first reader's nodules as sentences."""
    reads = json.loads((data / "lidc_idri_small/reads_derived.json").read_text())
    nodules = reads[patient]["readings"][0]["nodules"]
    seen = [nodule for nodule in nodules if nodule["in_kept_slices"]]
    return (
        f"Chest CT. {len(nodules)} pulmonary nodules are marked, {len(seen)} of them in the slices at hand. "
        + " ".join(
            f"A nodule spans {nodule['n_slices']} slices, malignancy"
            f" {(nodule['characteristics'] or {}).get('malignancy', 'not rated')}."
            for nodule in nodules
        )
    )


def aorta_report(data: Path) -> str:
    """The aortic diameters as sentences."""
    report = json.loads((data / "totalsegmentator/aorta_report/aorta_report.json").read_text())
    return "Contrast-enhanced CT of the thoracic aorta. " + " ".join(
        f"The diameter at the {mark['name']} is {mark['diameter']} cm." for mark in report["landmarks"].values()
    )


def report_table(data: Path) -> list[tuple[str, str]]:
    """Study id and report of seven volumes, of which five show a chest."""
    return [
        ("LIDC-IDRI-0001", lidc_report(data, "LIDC-IDRI-0001")),
        ("LIDC-IDRI-0003", lidc_report(data, "LIDC-IDRI-0003")),
        ("ct-64", "Whole chest CT, for which no reading is at hand."),
        ("TestInput", "Whole chest CT of a second patient, without a reading."),
        ("3DCT_lung_baseline_small", "Right lung of a chest CT, cut out, without a reading."),
        ("ct_cropped", aorta_report(data)),
        ("example_ct", "CT of abdomen and pelvis, without a reading."),
    ]
