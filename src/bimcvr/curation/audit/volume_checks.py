"""Checks of a volume by its facts: pure functions from facts to findings."""

import math
from collections.abc import Iterator

from bimcvr.curation.audit.finding import Finding
from bimcvr.curation.audit.volume_facts import VolumeFacts

# the paper's two filters
SMALLEST, MOST_MISSING = 96, 0.30
NOTHING_LEFT = 0.99
# mm between slices. 96 slices (the smallest series accepted) of more than 10 mm are longer than any trunk, and a
# third-party check of 317 series of the release found 33 whose slice thickness is the whole field of view, 180 to 370
# mm. Detector rows are 0.25 to 0.625 mm.
SPACING = (0.2, 10.0)
# the lungs of a tall adult in full inspiration are about 300 mm high
TALLEST_LUNGS = 450.0
# mm. An adult's lungs are 240 to 300 mm wide and 150 to 220 mm deep: a smaller field cuts them on both sides. The
# widest bores are 900 mm, whole-body scans 2,000 mm long; half a lung is 120 mm high.
BREADTH, DEPTH, LENGTH = (240.0, 900.0), (180.0, 900.0), (120.0, 1200.0)
# mm. The body itself, where the field shows all of it: an adult's trunk.
BODY = (180.0, 600.0)
# Share of lung in the body's cross-section. Measured: 0.33 to 0.47 in four real chests, 0.16 to 0.41 in phantoms with
# every disease, 0.02 to 0.06 in three real abdomens. The top slices of an abdomen show the bases of the lungs: less
# than 100 mm (of a short scan, two fifths), up to the last slice. In chests where disease left as little height, 1.5 L
# were aerated.
LUNG_SHARE, LUNG_EXTENT, LUNG_SPAN, LUNG_ML = 0.12, 100.0, 0.4, 1200.0
# degrees: a scanner's axes are those of the table; 12,066 series of the source bank are oriented otherwise
OBLIQUITY = 10.0
# Which way up: the logarithm of the lungs' base-to-apex ratio plus the windpipe's upper minus lower share. Measured:
# −0.14 to 1.6 in 911 of 916 phantom chests with every disease, 0.0 to 0.9 in real ones; 0.2 % of the upright and 92 %
# of the upside-down phantoms are below the threshold.
UPSIDE_DOWN = -0.4
# Front or back: the midline's bone is at 0.56 to 0.85 of the depth, at 0.47 in real chests with contrast medium in the
# heart. The bone must be clearly in front, or the table in front as well: with a prone patient the table is in front,
# but the spine is not.
FRONT_BONE, CENTRAL_BONE, TABLE_BEFORE = 0.35, 0.45, 0.2
# depth divided by width, measured 0.60 to 0.86
TOO_DEEP = 1.1
# Left and right are mirror images: the overlap along x was larger than along y and z by at least 0.12 in real whole
# chests, and smaller by at most 0.05 in phantoms.
MIRRORED = 0.1
# a field that the body fills on all four sides shows too little of it for a check
WITHIN = 0.25
# Slices that do not belong together: a change from one slice to the next of so many HU, or of so many times those
# around it; copies of slices; the share by which the area of lung falls and rises again. Measured in fourteen real
# series and 115 phantom chests with every disease: changes up to 123 HU (180 in the last of five slices of 16 × 16; 380
# where the front is taken for the top), contrasts up to 1.9, no copies, dips up to 0.39. Two scans of a chest in one
# volume: dips from 0.6; half of the slices 1024 HU too high or too low: changes from 410 HU; a block of another chest:
# contrasts from 5.9; a block 200 HU too high: from 2.9.
JUMP, CONTRAST, COPIES, LUNG_DIP = 300.0, 2.5, 3, 0.5
# share above 500 HU: 0.05 at most in real volumes, 0.3 to 0.55 where the values are inverted
BRIGHT = 0.15
# noise and the outermost pixels reach this low in every field that shows air
AIR = -800
# Share of the voxels above −500 HU that are between −200 and 300; 0.78 to 0.95 in real volumes
SOFT = 0.3


def check_volume(study_id: str, facts: VolumeFacts) -> list[Finding]:
    """Return what is wrong with a volume, at most one finding for each flag.

    Args:
        study_id: the row.
        facts: the facts of its volume.
    """
    # a volume without any values has no unit
    unit = _not_hu(facts) if facts.missing < NOTHING_LEFT else ""
    # the anatomy cannot be checked in another unit
    content = {"not_hu": unit} if unit else dict(_content(facts))
    evidence_of = content | dict(_grid(facts))
    return [Finding(study_id, flag, evidence) for flag, evidence in evidence_of.items()]


def _broken_stack(facts: VolumeFacts) -> str:
    """Return why the slices are not one series, whatever they show; empty if they may be."""
    slices = facts.slices
    if slices.repeated >= COPIES:
        return f"{slices.repeated} slices are copies of others"
    if slices.jump > JUMP:
        return f"the values change by {slices.jump:.0f} HU from slice {slices.jump_at} of the file to the next"
    return ""


def _mixed_series(facts: VolumeFacts) -> str:
    """Return why the slices of a chest are of several series; empty if they are not. Exchanged axes look alike."""
    slices = facts.slices
    if facts.chest.lung_dip > LUNG_DIP:
        return "there are lungs at two heights: two series in one volume"
    if slices.contrast > CONTRAST:
        return (
            f"slice {slices.contrast_at} of the file and the next differ {slices.contrast:.1f} times as much as those"
            " around them: a block of another series, a scaled range, or missing slices"
        )
    return ""


def _grid(facts: VolumeFacts) -> Iterator[tuple[str, str]]:
    depth, height, width = facts.size
    if min(facts.size) < SMALLEST:
        yield "too_small", f"{width} × {height} × {depth} voxels; the smallest accepted is {SMALLEST}"
    gap = facts.spacing[0]
    long = depth * gap
    regular = SPACING[0] <= gap <= SPACING[1]
    if not regular:
        yield "slice_spacing", f"{gap:.4g} mm between slices, {depth} slices: {long:.0f} mm in all"
    elif facts.chest.lung_extent > TALLEST_LUNGS:
        yield "slice_spacing", f"{gap:.4g} mm between slices make the lungs {facts.chest.lung_extent:.0f} mm high"
    outside = _outside(facts) + ([f"{long:.0f} mm long"] if regular and not LENGTH[0] <= long <= LENGTH[1] else [])
    if outside:
        yield "field_of_view", "the volume is " + ", ".join(outside)
    conflict = facts.orientation_conflict or _stored_axes(facts)
    if conflict:
        yield "orientation", conflict


def _outside(facts: VolumeFacts) -> list[str]:
    _, deep, width = (size * mm for size, mm in zip(facts.size, facts.spacing, strict=True))
    limits = (("wide", width, BREADTH), ("deep", deep, DEPTH))
    outside = [f"{mm:.0f} mm {name}" for name, mm, (low, high) in limits if not low <= mm <= high]
    chest = facts.chest
    whole = chest.lung_share >= LUNG_SHARE and max(chest.cut[1:]) < 0.05
    if not outside and whole and not BODY[0] <= max(chest.width, chest.depth) <= BODY[1]:
        outside = [f"{width:.0f} mm wide, and the body in it is {max(chest.width, chest.depth):.0f} mm"]
    return outside


def _stored_axes(facts: VolumeFacts) -> str:
    slices = {"R": "sagittal", "L": "sagittal", "A": "coronal", "P": "coronal"}.get(facts.orientation[2], "axial")
    if slices != "axial":
        return f"the file's slices are {slices} (axes {facts.orientation})"
    if facts.obliquity > OBLIQUITY:
        return f"the axes are rotated by {facts.obliquity:.1f}° relative to the patient's"
    return ""


def _content(facts: VolumeFacts) -> Iterator[tuple[str, str]]:
    if facts.missing > MOST_MISSING:
        blank = f", {facts.blank_slices} blank slices" if facts.blank_slices else ""
        yield "missing_voxels", f"{100 * facts.missing:.1f} % of the voxels are missing{blank}"
        return
    broken = _broken_stack(facts)
    if broken:
        yield "mixed_slices", broken
    chest = facts.chest
    across = max(chest.cut[1:])
    if chest.cut[0] < 0.05 and across > 0.25:
        axis = "y" if chest.cut[1] == across else "x"
        yield "orientation", f"the body is cut off along {axis}, not along z: these are not axial slices"
        return
    if min(chest.cut[1:]) > WITHIN or facts.size[2] * facts.spacing[2] < BREADTH[0] / 2:
        return
    small_extent = chest.lung_extent < min(LUNG_EXTENT, LUNG_SPAN * facts.size[0] * facts.spacing[0])
    only_bases = chest.lung_ends[1] >= 0.1 or chest.lung_ml < LUNG_ML
    if chest.lung_share < LUNG_SHARE or (small_extent and only_bases):
        yield (
            "not_chest",
            (
                f"lung is {100 * chest.lung_share:.0f} % of the body's cross-section at most, over "
                f"{chest.lung_extent:.0f} mm, {chest.lung_ml:.0f} mL at {chest.lung_hu:.0f} HU"
            ),
        )
        return
    pose, mixed = _pose(facts), _mixed_series(facts)
    if pose:
        yield "orientation", pose
    elif mixed and not broken:
        yield "mixed_slices", mixed


def _pose(facts: VolumeFacts) -> str:
    chest = facts.chest
    if chest.cut[2] < 0.1 and chest.depth > TOO_DEEP * chest.width:
        return f"the chest is {chest.depth:.0f} mm deep and {chest.width:.0f} mm wide: rotated by 90°"
    if max(chest.mirror[:2]) > chest.mirror[2] + MIRRORED:
        axis = "z" if chest.mirror[0] > chest.mirror[1] else "y"
        return f"the body is its own mirror image along {axis} rather than from side to side: the axes are exchanged"
    whole = max(chest.lung_ends) < 0.1
    if whole and math.log(chest.base_to_apex) + chest.windpipe < UPSIDE_DOWN:
        return (
            f"the lungs taper downwards (base to apex {chest.base_to_apex:.2f}, windpipe upper minus lower "
            f"{chest.windpipe:.2f}): upside down"
        )
    in_front = 0 <= chest.bone < CENTRAL_BONE and 0 <= chest.table < TABLE_BEFORE
    if 0 <= chest.bone < FRONT_BONE or in_front:
        return (
            f"the spine is in front (at {chest.bone:.2f} of the depth; {100 * max(chest.table, 0):.0f} % of the "
            "objects outside the body are behind it): back to front"
        )
    return ""


def _not_hu(facts: VolumeFacts) -> str:
    """Return how the values differ from HU; empty if they are HU."""
    values = facts.values
    span = f"values from {values.lowest} to {values.highest}"
    if values.lowest >= 0 and values.highest <= 255:
        return f"8-bit: {span}"
    # inverted air is as high as 0-based tissue, but inverted bone is far below 0
    if values.bright > BRIGHT and values.lowest < -100:
        return f"inverted or offset, in all slices or some: {span}, {100 * values.bright:.0f} % of the voxels above 500"
    # any field larger than a body contains air; 0-based values put it where water should be
    if values.low < 0.01 and values.raised >= 0.05:
        return f"0-based, never rescaled: {span}, tissue near 1024 and no air at −1000"
    if values.soft < 0.01 or values.soft < SOFT * values.dense:
        if values.dense < 0.1:
            return (
                f"rescaled twice: {span}, {100 * values.padding:.0f} % of the voxels below −1500 and "
                f"{100 * values.soft:.1f} % in the range of soft tissue"
            )
        return f"shifted or scaled: {span}, everything but air is around {values.dense_median}"
    if values.low < 0.003:
        return f"windowed: {span}, no air or lung"
    if values.lowest > AIR:
        return f"scaled or windowed: {span}, no air near −1000"
    return ""
