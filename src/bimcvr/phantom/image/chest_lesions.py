"""Painting findings of the mediastinum and the chest wall."""

import numpy as np

from bimcvr.phantom.image.anatomy import AIR, FAT, HEART_FAT, aorta, heart, widened
from bimcvr.phantom.image.body import Body
from bimcvr.phantom.image.canvas import Canvas
from bimcvr.phantom.image.lung_lesions import Painter
from bimcvr.phantom.reports.findings import PlantedFinding, Rng

# enlarged nodes take up contrast medium
NODE = 95.0
# the middle of each lymph node station in the standard body
STATION_CENTRES = {
    "right paratracheal": (-26.0, 2.0, 74.0),
    "prevascular": (14.0, -40.0, 54.0),
    "subcarinal": (0.0, 34.0, 8.0),
    "right hilar": (-50.0, 14.0, 14.0),
    "left hilar": (50.0, 16.0, 18.0),
}


def adenopathy(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Set a conglomerate of enlarged nodes, in fat, into a lymph node station."""
    radius = finding.millimetres / 2
    if finding.site.endswith("axillary"):
        side = -1 if finding.side == "right" else 1
        centre = (side * (body.width + 6), -8.0, 74 * body.height)
    else:
        centre = body.at(*STATION_CENTRES[finding.site])
    canvas.paint(canvas.ellipsoid(centre, (radius + 7, radius + 7, radius + 7)), FAT, counts=False)
    if finding.site.endswith("axillary"):
        # axillary nodes form a chain; a single one would be lost between muscles on a small grid
        for step in (-1.1, 1.1):
            above = (centre[0], centre[1], centre[2] + step * radius)
            canvas.paint(canvas.ellipsoid(above, (radius * 0.8, radius * 0.8, radius * 0.8)), NODE)
    for k in range(5):
        size = radius * (0.92 if k == 0 else rng.uniform(0.45, 0.6))
        away = rng.normal(size=3)
        away *= (radius - size) / np.linalg.norm(away)
        lump = tuple(float(c + d) for c, d in zip(centre, away, strict=True))
        canvas.paint(canvas.ellipsoid(lump, (size, size, size)), NODE)  # type: ignore[arg-type]


def pericardial_effusion(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Put a layer of fluid around the heart, outside its fat."""
    chambers = heart(body)
    outer = [canvas.ellipsoid(centre, widened(radii, HEART_FAT + finding.millimetres)) for centre, radii in chambers]
    # what the pericardium may hold: neither the heart with its fat nor vessels, airways and bone
    free = (canvas.lung > 0) | ((canvas.hu > -130) & (canvas.hu < -40))
    for centre, radii in chambers:
        box, share = canvas.ellipsoid(centre, widened(radii, HEART_FAT))
        free[box] &= share < 0.5
    for shape in outer:
        canvas.paint(canvas.masked(shape, free), 14)


def aortic_calcification(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Plaster the aortic wall with calcium: plaques, or nearly the whole ring."""
    parts = finding.site.split(" and ")
    thick, cover = {"mild": (4.0, 0.35), "severe": (6.0, 0.8)}[str(finding.size)]
    for part, start, end, radius in aorta(body):
        if part not in parts:
            continue
        box, wall = canvas.tube(start, end, radius + 0.5, wall=thick)
        plaques = rng.random(tuple(-(-n // 3) for n in wall.shape)) < cover
        for axis in range(3):
            plaques = plaques.repeat(3, axis)
        wall *= plaques[tuple(slice(n) for n in wall.shape)]
        canvas.mark((box, wall))
        part_hu = canvas.hu[box]
        part_hu += wall * (900 - part_hu)


def hiatal_hernia(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Put a piece of stomach with gas over fluid behind the heart."""
    radius = finding.millimetres / 2
    centre = body.at(4, 40, -62)
    canvas.paint(canvas.ellipsoid(centre, (radius + 3, radius * 0.85 + 3, radius + 3)), 45)
    shape = canvas.ellipsoid(centre, (radius - 2, radius * 0.85 - 2, radius - 2))
    canvas.paint(shape, 20)
    above = (canvas.grid.y < centre[1] - 1)[None, :, None] & np.ones(canvas.grid.shape, bool)
    canvas.paint(canvas.masked(shape, above), AIR + 10)


def goiter(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Enlarge one lobe of the thyroid into the chest; the trachea gives way (`adapt`)."""
    radius = finding.millimetres / 2
    side = -1 if finding.side == "right" else 1
    centre = body.at(side * (10 + 0.8 * radius), -2, 112)
    canvas.paint(canvas.ellipsoid(centre, (radius + 4, radius + 4, radius * 1.2 + 4)), FAT, counts=False)
    canvas.paint(canvas.ellipsoid(centre, (radius, radius, radius * 1.2)), 115)
    for _ in range(4):
        spot = tuple(float(c + rng.uniform(-0.5, 0.5) * radius) for c in centre)
        canvas.paint(canvas.ellipsoid(spot, (radius / 4,) * 3), 20)  # type: ignore[arg-type]


def pacemaker(canvas: Canvas, body: Body, finding: PlantedFinding, rng: Rng) -> None:
    """Put a generator below the skin of the upper chest and a lead to the heart."""
    side = -1 if finding.side == "right" else 1
    generator = (side * 72.0, -0.86 * body.depth - 0.5 * body.fat - 22, 70 * body.height)
    canvas.paint(canvas.ellipsoid(generator, (26, 9, 24)), 2600)
    vein, entry = body.at(-24, -16, 90), body.at(-26, -10, 20)
    for start, end in ((generator, vein), (vein, entry), (entry, body.at(30, -26, -48))):
        canvas.paint(canvas.tube(start, end, 2.4), 1600)


PAINTERS: dict[str, Painter] = {
    "adenopathy": adenopathy,
    "pericardial effusion": pericardial_effusion,
    "aortic calcification": aortic_calcification,
    "hiatal hernia": hiatal_hernia,
    "goiter": goiter,
    "pacemaker": pacemaker,
}
