"""The normal chest: body wall, lungs with lobes, heart, vessels, airways, bones, upper abdomen."""

import numpy as np

from bimcvr.phantom.image.body import Body
from bimcvr.phantom.image.canvas import Canvas, Grid, Point
from bimcvr.phantom.reports.findings import Rng

AIR, FAT, SOFT, BONE = -1000.0, -100.0, 45.0, 420.0
HEART_FAT = 5.0
# where the air of each lobe's bronchi enters: the hila, in the standard body
HILA = {"right": (-38.0, 12.0, 12.0), "left": (36.0, 14.0, 16.0)}


def paint_chest(body: Body, grid: Grid, rng: Rng) -> Canvas:
    """Paint a patient without findings, other than those that deform the body.

    Args:
        body: the patient's build.
        grid: the voxels.
        rng: of the patient, for the course of the vessels.
    """
    canvas = Canvas(grid, np.full(grid.shape, AIR, np.float32), np.zeros(grid.shape, np.uint8))
    _wall(canvas, body)
    _lungs(canvas, body)
    _abdomen(canvas, body)
    _lung_vessels(canvas, body, rng)
    _mediastinum(canvas, body)
    _heart(canvas, body)
    _vessels(canvas, body)
    _airways(canvas, body)
    _spine(canvas, body)
    _shoulders(canvas, body)
    return canvas


def aorta(body: Body) -> list[tuple[str, Point, Point, float]]:
    """Return the aorta as tubes: (part, start, end, radius); parts are ascending, arch and descending."""
    thin = min(body.descending, 16.0)
    spots = [
        body.at(-2, -14, -6),
        body.at(-12, -22, 22),
        body.at(-10, -18, 52),
        body.at(2, 0, 72),
        body.at(16, 22, 74),
        body.at(24, 40, 58),
        body.at(26, 50, 30),
        body.at(24, 52, -40),
        body.at(10, 54, -170),
    ]
    parts = ["ascending", "ascending", "arch", "arch", "arch", "descending", "descending", "descending"]
    radius = {
        "ascending": body.ascending,
        "arch": 0.5 * (min(body.ascending, 18.0) + thin),
        "descending": body.descending,
    }
    return [(part, start, end, radius[part]) for part, start, end in zip(parts, spots, spots[1:], strict=False)]


def heart(body: Body) -> list[tuple[Point, Point]]:
    """Return the heart as three ellipsoids (centre, radii): left ventricle, right heart, left atrium."""
    grow = (body.heart - 1) * 40
    nominal = (((20, -22, -38), (46, 34, 42)), ((-14, -12, -24), (34, 32, 36)), ((4, 10, -14), (34, 24, 26)))
    return [
        (body.at(x + grow * 0.5, y - grow * 0.2, z), (a * body.heart, b * body.heart, c * body.heart))
        for (x, y, z), (a, b, c) in nominal
    ]


def widened(radii: Point, margin: float) -> Point:
    """Return the radii of an ellipsoid that is larger by a margin all round, in mm."""
    return radii[0] + margin, radii[1] + margin, radii[2] + margin


def chest_radius(body: Body, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return the rib cage as a surface.

    Returns:
        (H, W) squared distances from the axis in units of the cage's radius at its widest, and (D,) the
        squared radius at each height: a voxel is inside where the first is below the second.
    """
    flat = (grid.y[:, None] / body.depth) ** 2 + (grid.x[None, :] / body.width) ** 2
    top = np.clip((grid.z / body.height + 40) / 168, 0, 1.2)
    return flat, np.clip(1 - top**2.8, 0.0, 1)


def _wall(canvas: Canvas, body: Body) -> None:
    grid, hu = canvas.grid, canvas.hu
    z, y, x = grid.z[:, None, None], grid.y[None, :, None], grid.x[None, None, :]
    muscle, skin = 17.0, body.fat + 24.0
    outer = (np.abs(x / (body.width + skin)) ** 2.4 + np.abs((y - 4) / (body.depth + skin)) ** 2.4)[0]
    hu[:, outer < 1] = FAT
    rim = (outer < 1) & (outer > 1 - 2.4 * 2.5 / body.width)
    hu[:, rim] = 10
    flat, inside = chest_radius(body, grid)
    # muscles keep their width at the shoulders while the cage narrows
    shape = (grid.x[None, :] / (body.width + muscle)) ** 2 + (grid.y[:, None] / (body.depth + muscle)) ** 2
    reach = np.clip(0.55 + 0.45 * inside, 0, 1)
    wall = shape < reach[:, None, None]
    hu[wall] = SOFT + 8
    cage = flat < inside[:, None, None]
    for side in (-1, 1):
        canvas.paint(canvas.ellipsoid((side * 62, -body.depth - 16, 55 * body.height), (52, 9, 52)), SOFT + 8)
        # the armpit is fat, with the edge of the back's muscle behind it
        canvas.paint(canvas.ellipsoid((side * (body.width + 4), -8, 74 * body.height), (27, 38, 46)), FAT)
    _ribs(canvas, body, wall & ~cage & (z > -125 * body.height))
    hu[cage] = FAT
    table = 0.00045 * grid.x[None, :] ** 2
    lower = grid.y[:, None] + table - (body.depth + skin + 14)
    hu[:, (np.abs(lower) < 3.5) & (np.abs(grid.x[None, :]) < 190) & (outer > 1)] = -300


def _ribs(canvas: Canvas, body: Body, wall: np.ndarray) -> None:
    grid = canvas.grid
    iz, iy, ix = np.nonzero(wall)
    z, y, x = grid.z[iz], grid.y[iy], grid.x[ix]
    phase = np.cos(2 * np.pi * (z + 0.55 * y) / (25 * body.height))
    near = (x / (body.width + 10)) ** 2 + (y / (body.depth + 10)) ** 2
    cage = chest_radius(body, grid)[1][iz]
    rib = (phase > 0.25) & (near < 0.04 + cage) & (cage > 0.12) & ~((np.abs(x) < 42) & (y < 0))
    hu = canvas.hu
    hu[iz[rib], iy[rib], ix[rib]] = 200 + 330 * (phase[rib] - 0.25)
    front = (y < 0) & (near < 0.05 + cage)
    cartilage = front & (np.abs(x) < 42) & (np.abs(x) > 17) & (phase > 0.2) & (z < 60)
    hu[iz[cartilage], iy[cartilage], ix[cartilage]] = 110
    sternum = front & (np.abs(x) < 17) & (z > -70) & (z < 75)
    hu[iz[sternum], iy[sternum], ix[sternum]] = 210


def _lungs(canvas: Canvas, body: Body) -> None:
    grid = canvas.grid
    flat, inside = chest_radius(body, grid)
    z, y = grid.z[:, None], grid.y[None, :]
    tall = z / body.height
    middle = 15 + 17 * np.exp(-(((y / body.depth * 88 - 12) / 34) ** 2)) - 9 * np.exp(-(((y + 60) / 26) ** 2))
    middle = middle + 7 * np.clip((tall - 55) / 40, 0, 1)
    air = flat < 0.97 * inside[:, None, None] - 0.012
    air &= grid.z[:, None, None] > diaphragm(body, grid)[None]
    offset = grid.x - body.shift
    air &= np.abs(offset)[None, None, :] > middle[:, :, None]
    oblique = (tall > -8 + 1.1 * y)[:, :, None]
    horizontal = (tall > 4 + 0 * y)[:, :, None]
    right = (offset < 0)[None, None, :]
    lobe = np.where(right, np.where(oblique, np.where(horizontal, 1, 2), 3), np.where(oblique, 4, 5)).astype(np.uint8)
    canvas.lung[:] = lobe * air
    canvas.hu[air] = body.lung_hu
    fissure = (np.abs(tall + 8 - 1.1 * y) < 2.2)[:, :, None] & air
    canvas.hu[fissure] = body.lung_hu + 110
    # gravity: the back of a lying patient's lung is a little denser
    canvas.hu += (air * (0.25 * grid.y)[None, :, None]).astype(np.float32)


def diaphragm(body: Body, grid: Grid) -> np.ndarray:
    """Return the height of the diaphragm (H, W)."""
    y, x = grid.y[:, None], grid.x[None, :]
    domes = []
    for side, peak in zip((-1, 1), body.domes, strict=True):
        across = (x - side * 0.5 * body.width) / (0.62 * body.width)
        radius = across**2 + ((y + 4) / (1.02 * body.depth)) ** 2
        domes.append(np.where(x * side > 0, peak * body.height - 58 * radius, -200))
    return np.maximum(domes[0], domes[1])


def _abdomen(canvas: Canvas, body: Body) -> None:
    grid = canvas.grid
    flat, _ = chest_radius(body, grid)
    shell = grid.z[:, None, None] - diaphragm(body, grid)[None]
    below = (flat < 0.98) & (shell <= 0)
    muscle = below & (shell > -5)
    liver = below & (grid.x < 20)[None, None, :] & (flat < 0.9) & (shell <= -4)
    canvas.hu[muscle] = SOFT + 5
    canvas.hu[liver] = body.liver_hu
    left = 0.5 * body.width
    peak = body.domes[1] * body.height
    canvas.paint(canvas.ellipsoid((left + 12, 38, peak - 42), (38, 34, 34)), SOFT + 8)
    canvas.paint(canvas.ellipsoid((left - 10, -22, peak - 36), (38, 32, 28)), 25)
    canvas.paint(canvas.ellipsoid((left - 8, -34, peak - 28), (26, 16, 17)), AIR + 20)


def _lung_vessels(canvas: Canvas, body: Body, rng: Rng) -> None:
    """Paint branching vessels as points: fast, and at this voxel size as good as tubes."""
    starts, ends, radii = [], [], []
    for hilum in HILA.values():
        root = np.array(body.in_lung(*hilum))
        side = np.sign(root[0])
        tips = np.repeat(root[None], 13, 0)
        heading = rng.normal(size=(13, 3)) * (0.7, 0.9, 1.0) + (0.75 * side, 0, 0)
        radius = 4.2
        for _ in range(4):
            heading /= np.linalg.norm(heading, axis=1, keepdims=True)
            reach = tips + heading * rng.uniform(16, 34, (len(tips), 1))
            starts.append(tips)
            ends.append(reach)
            radii.append(np.full(len(tips), radius))
            tips, heading = np.repeat(reach, 2, 0), np.repeat(heading, 2, 0)
            heading = heading + rng.normal(size=heading.shape) * 0.55
            radius *= 0.72
    first, last, width = np.concatenate(starts), np.concatenate(ends), np.concatenate(radii)
    step = np.linspace(0, 1, 24)[None, :, None]
    points = (first[:, None] * (1 - step) + last[:, None] * step).reshape(-1, 3)
    width = np.repeat(width, 24)
    _splat(canvas, points, width, body.blood_hu, body.lung_hu)


def _splat(canvas: Canvas, points: np.ndarray, radius: np.ndarray, hu: float, background: float) -> None:
    grid = canvas.grid
    for shift in ((0.0, 0.0, 0.0), (0.7, 0.0, 0.0), (-0.7, 0.0, 0.0), (0.0, 0.7, 0.0), (0.0, -0.7, 0.0)):
        moved = points + np.array(shift) * radius[:, None]
        index = [
            np.rint((moved[:, k] - axis[0]) / (axis[1] - axis[0])).astype(int)
            for k, axis in ((2, grid.z), (1, grid.y), (0, grid.x))
        ]
        valid = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(index, grid.shape, strict=True)])
        z, y, x = (i[valid] for i in index)
        share = np.clip((radius[valid] / 3.6) ** 2 * 1.5, 0, 1)
        value = np.where(canvas.lung[z, y, x] > 0, background + share * (hu - background), AIR)
        np.maximum.at(canvas.hu, (z, y, x), value.astype(np.float32))


def _mediastinum(canvas: Canvas, body: Body) -> None:
    """Paint small structures in the fat: oesophagus, thyroid, great veins."""
    at = body.at
    blood, muscle = body.blood_hu, SOFT - 8
    for start, end, radius, hu in (
        (at(8, 32, 110), at(10, 40, -20), 6.5, muscle),
        (at(10, 40, -20), at(22, 30, -100), 7.0, muscle),
        (at(-24, -16, 96), at(-26, -10, 20), 8.0, blood),
        (at(26, -20, 92), at(-20, -22, 74), 6.0, blood),
        (at(-18, 0, 118), at(-14, -6, 78), 6.0, blood),
        (at(18, 6, 118), at(10, 4, 78), 5.0, blood),
    ):
        canvas.paint(canvas.tube(start, end, radius), hu)
    for side in (-1, 1):
        canvas.paint(canvas.ellipsoid(at(side * 17 + body.windpipe, -2, 116), (9, 11, 18)), 100)


def _heart(canvas: Canvas, body: Body) -> None:
    chambers = heart(body)
    for centre, radii in chambers:
        canvas.paint(canvas.ellipsoid(centre, widened(radii, HEART_FAT)), FAT)
    for (centre, radii), hu in zip(chambers, (SOFT + 10, body.blood_hu, body.blood_hu), strict=True):
        canvas.paint(canvas.ellipsoid(centre, radii), hu)
    # the hollow of the left ventricle
    centre, radii = chambers[0]
    canvas.paint(canvas.ellipsoid(centre, widened(radii, -13)), body.blood_hu)


def _vessels(canvas: Canvas, body: Body) -> None:
    for _, start, end, radius in aorta(body):
        canvas.paint(canvas.tube(start, end, radius), body.blood_hu)
    at = body.at
    trunk = at(12, -12, 26)
    for end, radius in ((at(-36, 14, 18), 9.0), (at(36, 18, 26), 10.0), (at(16, -22, 2), 12.0)):
        canvas.paint(canvas.tube(trunk, end, radius), body.blood_hu)
    for x, z in ((-46, 2), (44, 4)):
        canvas.paint(canvas.tube(at(x * 0.5, 14, z - 4), at(x, 18, z - 12), 6.0, 4.0), body.blood_hu)


def _airways(canvas: Canvas, body: Body) -> None:
    at = body.at
    carina = at(2, 20, 42)
    upper = at(0, 6, 130)
    upper = (upper[0] + body.windpipe, upper[1], upper[2])
    right, left = at(-36, 22, 20), at(40, 24, 18)
    branches = (
        (upper, carina, 8.0),
        (carina, right, 6.5),
        (carina, left, 6.0),
        (right, at(-50, 26, -14), 4.5),
        (at(-26, 22, 26), at(-54, 16, 46), 4.5),
        (left, at(52, 30, -14), 4.5),
        (left, at(58, 8, 44), 4.5),
    )
    for start, end, radius in branches:
        canvas.paint(canvas.tube(start, end, radius + 1.6), 0, solid=False)
    for start, end, radius in branches:
        canvas.paint(canvas.tube(start, end, radius), AIR + 15, solid=False)


def _spine(canvas: Canvas, body: Body) -> None:
    """Paint the vertebrae slice by slice, which allows a curved spine."""
    grid = canvas.grid
    bow = body.spine_x(grid.z / body.height)
    back = 0.80 * body.depth
    box = grid.box((-90, back - 30, -1e3), (90, back + 80, 1e3))
    z, y, x = grid.within(box)
    x = x - bow[box[0], None, None]
    y = y - back
    part = canvas.hu[box]
    # muscles of the back, then bone
    for side in (-1, 1):
        part[((x - side * 26) / 22) ** 2 + ((y - 34) / 17) ** 2 + 0 * z < 1] = SOFT + 10
    phase = np.abs(np.mod(z / (25 * body.height), 1) - 0.5)
    disc = phase < 0.11
    body_distance = (x / 19) ** 2 + (y / 16) ** 2 + 0 * z
    part[body_distance < 1.35] = SOFT
    part[(body_distance < 1.12) & ~disc] = BONE
    part[(body_distance < 0.72) & ~disc] = 190
    part[(body_distance < 1.0) & disc] = 85
    arch = (x / 15) ** 2 + ((y - 24) / 13) ** 2 + 0 * z
    part[(arch < 1.25) & (phase > 0.2)] = BONE
    part[arch < 0.5] = 20
    part[(np.abs(x) < 4) & (y > 34) & (y < 56) & (phase > 0.25)] = BONE - 80
    part[(np.abs(x) > 12) & (np.abs(x) < 36) & (np.abs(y - 18 + 0 * x) < 6) & (phase > 0.36)] = BONE - 100
    canvas.lung[box][(body_distance < 1.35) | (arch < 1.25)] = 0


def _shoulders(canvas: Canvas, body: Body) -> None:
    """Paint scapulae and clavicles."""
    for side in (-1, 1):
        wide, deep = body.width, body.depth
        for start, end, radius in (
            ((wide - 52, deep + 9, 40), (wide + 8, deep - 26, 105), 4.5),
            ((wide - 66, deep + 10, 66), (wide - 6, deep - 8, 84), 4.5),
            ((16, -deep * 0.72, 92), (wide - 12, -deep * 0.45, 124), 5.5),
        ):
            ends = (side * start[0], *start[1:]), (side * end[0], *end[1:])
            canvas.paint(canvas.tube(*ends, radius), BONE - 70)
