"""Painting findings in the lungs and around them."""

from collections.abc import Callable

import numpy as np

from bimcvr.phantom.image.anatomy import AIR, HILA, chest_radius
from bimcvr.phantom.image.body import Body
from bimcvr.phantom.image.canvas import Array, Box, Canvas, Point
from bimcvr.phantom.reports.findings import LOBES, PlantedFinding, Rng

Painter = Callable[[Canvas, Body, PlantedFinding, Rng], None]

_EVERYWHERE: Box = (slice(None), slice(None), slice(None))
# the middle of each lobe in the standard body
CENTRES = {
    "right upper lobe": (-72.0, -14.0, 56.0),
    "right middle lobe": (-78.0, -44.0, -22.0),
    "right lower lobe": (-72.0, 40.0, -22.0),
    "left upper lobe": (74.0, -28.0, 48.0),
    "left lower lobe": (74.0, 40.0, -24.0),
}


def ground_glass(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Raise the density of a lobe to about -520 HU, in patches or nearly everywhere."""
    lobe = _lobe(canvas, finding)
    spread = {"patchy": 10.0, "extensive": 0.0}[str(finding.size)]
    radius = {"patchy": 30.0, "extensive": 66.0}[str(finding.size)]
    for _ in range({"patchy": 4, "extensive": 1}[str(finding.size)]):
        centre = _jitter(_centre(body, finding), rng, 14 + spread)
        box, share = canvas.masked(canvas.ellipsoid(centre, (radius, radius, radius)), lobe)
        part = canvas.hu[box]
        goal = rng.uniform(-550, -490) + 50 * rng.standard_normal(share.shape, dtype=np.float32)
        part += 0.92 * share * np.maximum(goal - part, 0)
        canvas.mark((box, share))


def consolidation(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Fill air spaces from the pleura inwards, with dark bronchi running through."""
    lobe = _lobe(canvas, finding)
    radius = {"segmental": 34.0, "lobar": 58.0}[str(finding.size)]
    x, y, z = _jitter(_centre(body, finding), rng, 6)
    outwards = 14 * np.sign(x) if finding.size == "segmental" else 0
    centre = (x + outwards, y, z)
    box, share = canvas.masked(canvas.ellipsoid(centre, (radius, radius, radius)), lobe)
    part = canvas.hu[box]
    goal = 15 + 45 * rng.standard_normal(share.shape, dtype=np.float32)
    part += share * (goal - part)
    canvas.mark((box, share))
    hilum = body.in_lung(*HILA[finding.side])
    for _ in range(5):
        tip = _jitter(centre, rng, 0.55 * radius)
        canvas.paint(
            canvas.masked(canvas.tube(hilum, tip, 3.2, 2.2), lobe & (canvas.hu > -400)), AIR + 180, solid=False
        )
    canvas.lung[box][share > 0.5] = 0


def atelectasis(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Draw a lobe together into a dense wedge at the hilum; dome and mediastinum follow (`adapt`)."""
    lobe = _lobe(canvas, finding)
    radius = {"partial": 42.0, "complete": 62.0}[str(finding.size)]
    hilum, centre = np.array(body.in_lung(*HILA[finding.side])), np.array(_centre(body, finding))
    middle = hilum + (centre - hilum) * (0.62 if finding.size == "partial" else 0.7)
    middle[0] -= np.sign(centre[0]) * 8
    shape = canvas.masked(canvas.ellipsoid(tuple(middle), (radius * 0.8, radius, radius)), lobe)
    canvas.paint(shape, rng.uniform(60, 75))


def nodule(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Set a round, sharp nodule into a lobe."""
    centre = _inside(canvas, body, finding, rng, finding.millimetres / 2)
    radius = finding.millimetres / 2 + 1.0
    canvas.paint(canvas.ellipsoid(centre, (radius, radius, radius)), 80)


def mass(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Set a lobulated mass with spicules into a lobe."""
    radius = finding.millimetres / 2
    centre = _inside(canvas, body, finding, rng, radius)
    inside = canvas.lung > 0
    for _ in range(10):
        tip = _jitter(centre, rng, radius * 1.4)
        canvas.paint(canvas.masked(canvas.tube(centre, tip, radius * 0.3, 0.8), inside), 0, solid=False)
    for k in range(4):
        lump = _jitter(centre, rng, radius * 0.25) if k else centre
        size = radius * (0.98 if k == 0 else 0.8)
        canvas.paint(canvas.ellipsoid(lump, (size, size, size)), 50)


def bronchiectasis(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Widen bronchi of a lobe into thick-walled tubes."""
    lobe = _lobe(canvas, finding)
    centre = np.array(_centre(body, finding))
    hilum = np.array(body.in_lung(*HILA[finding.side]))
    count, radius = {"mild": (12, 5.0), "severe": (20, 6.5)}[str(finding.size)]
    tubes = []
    for _ in range(count):
        start = _jitter(tuple(centre), rng, 26)
        along = np.array(start) - hilum
        end = np.array(start) + 24 * along / np.linalg.norm(along)
        tubes.append((start, tuple(end)))
    for start, end in tubes:
        canvas.paint(canvas.masked(canvas.tube(start, end, radius + 4.5), lobe), 40, solid=False)
    for start, end in tubes:
        canvas.paint(canvas.masked(canvas.tube(start, end, radius), lobe), AIR + 20, solid=False)


def emphysema(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Lower the density of the lungs and set bullae, at the top or everywhere; domes flatten (`adapt`)."""
    grade = {"mild": 1, "moderate": 2, "severe": 3}[str(finding.size)]
    air = canvas.lung > 0
    weight = np.ones(len(canvas.grid.z), np.float32)
    if finding.site != "diffuse":
        weight = np.clip((canvas.grid.z / body.height + 20) / 50, 0, 1).astype(np.float32)
    thin = np.where(air & (canvas.hu < -700), np.float32(-30 - 26 * grade), np.float32(0))
    canvas.hu += thin * weight[:, None, None]
    canvas.mark((_EVERYWHERE, (thin < 0) * weight[:, None, None]))
    lobes = [lobe for lobe in LOBES if "upper" in lobe or finding.site == "diffuse"]
    for k in range(8 * grade + 4):
        centre = _jitter(_near(CENTRES[lobes[k % len(lobes)]], body), rng, 34)
        radius = rng.uniform(6, 9 + 4 * grade)
        shape = canvas.masked(canvas.ellipsoid(centre, (radius, radius, radius)), air)
        canvas.paint(canvas.masked(canvas.ellipsoid(centre, (radius + 2,) * 3), air), -860, solid=False)
        canvas.paint(shape, AIR + 5, solid=False)


def pleural_effusion(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Fill the back and bottom of a pleural space with fluid whose surface curves up at the chest wall."""
    grid = canvas.grid
    flat, inside = chest_radius(body, grid)
    side = _side(canvas, finding)
    rim = np.clip(flat[None] / np.maximum(inside, 0.2)[:, None, None], 0, 1.1)
    low = (grid.y / body.depth)[None, :, None] - 0.42 * (grid.z / body.height / 100)[:, None, None]
    level = {"small": 0.94, "moderate": 0.60, "large": 0.22}[str(finding.size)] + rng.uniform(-0.03, 0.03)
    fluid = side & (low + 0.35 * (rim - 0.7) > level)
    canvas.hu[fluid] = 8
    canvas.mark((_EVERYWHERE, fluid))
    # lung beside much fluid is pressed together
    if finding.size != "small":
        near = side & ~fluid & (low + 0.35 * (rim - 0.7) > level - 0.12)
        canvas.hu[near] = np.maximum(canvas.hu[near], -250)
    canvas.lung[fluid] = 0


def pneumothorax(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Put air without vessels before and above a lung that has drawn back and become denser."""
    grid = canvas.grid
    flat, inside = chest_radius(body, grid)
    side = _side(canvas, finding)
    rim = flat[None] / np.maximum(inside, 0.05)[:, None, None]
    front = -(grid.y / body.depth)[None, :, None] + 0.25 * np.clip(grid.z / body.height / 100, 0, 1.2)[:, None, None]
    depth = 0.55 * front + 0.75 * rim
    level = {"small": 0.84, "moderate": 0.62, "large": 0.36}[str(finding.size)] + rng.uniform(-0.02, 0.02)
    gas = side & (depth > level)
    edge = side & ~gas & (depth > level - 0.07)
    rest = side & ~gas & (canvas.hu < -600)
    canvas.hu[rest] += {"small": 40, "moderate": 110, "large": 230}[str(finding.size)]
    canvas.hu[edge] = np.maximum(canvas.hu[edge], -420)
    canvas.hu[gas] = AIR
    canvas.mark((_EVERYWHERE, gas))
    canvas.lung[gas] = 0


PAINTERS: dict[str, Painter] = {
    "pleural effusion": pleural_effusion,
    "pneumothorax": pneumothorax,
    "emphysema": emphysema,
    "ground glass": ground_glass,
    "atelectasis": atelectasis,
    "consolidation": consolidation,
    "bronchiectasis": bronchiectasis,
    "nodule": nodule,
    "mass": mass,
}


def _side(canvas: Canvas, finding: PlantedFinding) -> Array:
    lobe = canvas.lung
    mask: Array = (lobe >= 4) if finding.side == "left" else ((lobe > 0) & (lobe < 4))
    return mask


def _lobe(canvas: Canvas, finding: PlantedFinding) -> Array:
    mask: Array = canvas.lung == LOBES.index(finding.lobe) + 1
    return mask


def _near(point: Point, body: Body) -> Point:
    return body.in_lung(*point)


def _centre(body: Body, finding: PlantedFinding) -> Point:
    return _near(CENTRES[finding.lobe], body)


def _jitter(centre: Point, rng: Rng, spread: float) -> Point:
    x, y, z = np.array(centre) + rng.uniform(-spread, spread, 3)
    return float(x), float(y), float(z)


def _inside(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng, radius: float) -> Point:
    """Return a point near the middle of the lobe where a sphere of that radius (mm) lies mostly in the lobe."""
    lobe = _lobe(canvas, finding)
    best, most = _centre(body, finding), -1.0
    for _ in range(6):
        centre = _jitter(_centre(body, finding), rng, 12)
        shape: tuple[Box, Array] = canvas.ellipsoid(centre, (radius, radius, radius))
        share = float(canvas.masked(shape, lobe)[1].sum())
        if share > most:
            best, most = centre, share
    return best
