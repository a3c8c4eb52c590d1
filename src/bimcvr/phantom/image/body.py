"""The build of a patient, and how findings deform it before anything is painted."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from bimcvr.phantom.reports.findings import PlantedFinding, Rng


@dataclass(frozen=True)
class Body:
    """The measures that a patient is painted from; lengths in mm, x towards the patient's left, z towards the head.

    Attributes:
        width: half the inner width of the rib cage.
        depth: half its inner depth.
        height: factor on all positions along z.
        fat: thickness of the fat below the skin.
        domes: height of the right and the left dome of the diaphragm.
        heart: factor on the radii of the heart.
        shift: displacement of the mediastinum towards the patient's left.
        windpipe: displacement of the upper trachea towards the left.
        curve: displacement of the middle of the spine towards the left.
        ascending: radius of the ascending aorta.
        descending: radius of the descending aorta.
        lung_hu: mean density of the lungs.
        liver_hu: density of the liver.
        blood_hu: density of heart and vessels, with or without contrast medium.
    """

    width: float
    depth: float
    height: float
    fat: float
    domes: tuple[float, float]
    heart: float
    ascending: float
    descending: float
    lung_hu: float
    liver_hu: float
    blood_hu: float
    shift: float = 0.0
    windpipe: float = 0.0
    curve: float = 0.0

    def at(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Map a position in the standard body to this patient's mediastinum."""
        return x * self.width / 130 + self.shift, y * self.depth / 88, z * self.height

    def in_lung(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Map a position in the standard body to this patient's lungs, which do not shift."""
        return x * self.width / 130, y * self.depth / 88, z * self.height

    def spine_x(self, z: np.ndarray) -> np.ndarray:
        """Return the spine's displacement towards the left at heights `z`."""
        bow: np.ndarray = self.curve * np.cos(np.clip((z - 10) / 130, -1, 1) * np.pi / 2 * 1.6)
        return bow


def draw_body(rng: Rng) -> Body:
    """Draw a patient's build."""
    return Body(
        width=rng.uniform(120, 138),
        depth=rng.uniform(80, 96),
        height=rng.uniform(0.93, 1.07),
        fat=rng.uniform(8, 30),
        domes=(rng.uniform(-68, -54), rng.uniform(-78, -64)),
        heart=rng.uniform(0.93, 1.05),
        ascending=rng.uniform(14, 17),
        descending=rng.uniform(11, 13.5),
        lung_hu=rng.uniform(-862, -842),
        liver_hu=rng.uniform(52, 64),
        blood_hu=rng.uniform(38, 46) if rng.random() < 0.7 else rng.uniform(100, 160),
    )


def adapt(body: Body, findings: tuple[PlantedFinding, ...]) -> Body:
    """Return the body as its findings deform it: heart size, domes, shift of the mediastinum, densities."""
    for finding in findings:
        body = dataclasses.replace(body, **_changes(body, finding))
    return body


def _changes(body: Body, finding: PlantedFinding) -> dict[str, Any]:
    # towards the patient's left is positive
    towards = {"right": -1.0, "left": 1.0}.get(finding.side, 0.0)
    size = str(finding.size)
    match finding.finding:
        case "cardiomegaly":
            return {"heart": body.heart * {"mild": 1.2, "moderate": 1.32, "severe": 1.45}[size]}
        case "aortic aneurysm":
            return {finding.site: finding.millimetres / 2}
        case "atelectasis":
            lift = {"partial": 14.0, "complete": 28.0}[size]
            right, left = body.domes
            domes = (right + lift, left) if finding.side == "right" else (right, left + lift)
            return {"domes": domes, "shift": body.shift + towards * lift / 2.5}
        case "pleural effusion" | "pneumothorax":
            return {"shift": body.shift - towards * {"small": 0.0, "moderate": 3.0, "large": 9.0}[size]}
        case "emphysema":
            grade = {"mild": 1, "moderate": 2, "severe": 3}[size]
            return {"domes": (body.domes[0] - 6 * grade, body.domes[1] - 6 * grade)}
        case "goiter":
            return {"windpipe": -towards * finding.millimetres / 4}
        case "scoliosis":
            return {"curve": towards * {"mild": 20.0, "severe": 36.0}[size]}
        case "hepatic steatosis":
            return {"liver_hu": {"mild": 10.0, "severe": -25.0}[size]}
        case _:
            return {}
