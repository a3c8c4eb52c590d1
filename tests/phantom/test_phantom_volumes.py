"""Painted volumes: densities, sides, lobes, and every finding where it says."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bimcvr.phantom.image.acquisition import PAINTERS, Scan, draw_grid, make_volume, paint, write_volume
from bimcvr.phantom.image.anatomy import paint_chest
from bimcvr.phantom.image.body import Body, adapt, draw_body
from bimcvr.phantom.image.canvas import Canvas, Grid, make_grid
from bimcvr.phantom.reports.findings import FINDING_KINDS, LOBES, PlantedFinding

PLACED = [PlantedFinding(name, site, kind.sizes[-1]) for name, kind in FINDING_KINDS.items() for site in kind.sites]


def scan(*findings: PlantedFinding, patient: int = 0, run: int = 1) -> Scan:
    return Scan(f"sub-{patient}", patient, (1, run), findings, 3)


def body_of(patient: int) -> Body:
    return draw_body(np.random.default_rng([3, patient, 1]))


def grid_of(patient: int = 0) -> Grid:
    return draw_grid(scan(patient=patient), np.random.default_rng(patient))


@pytest.fixture(scope="module", params=range(3))
def normal(request: pytest.FixtureRequest) -> tuple[Canvas, Body]:
    return paint(scan(patient=request.param), grid_of(request.param)), body_of(request.param)


def at(canvas: Canvas, point: tuple[float, float, float], reach: int = 1) -> float:
    """The median HU around a place (x, y, z) in mm."""
    z, y, x = (
        int(np.abs(axis - point[k]).argmin())
        for k, axis in ((2, canvas.grid.z), (1, canvas.grid.y), (0, canvas.grid.x))
    )
    box = tuple(slice(i - reach, i + reach + 1) for i in (z, y, x))
    return float(np.median(canvas.hu[box]))


def test_tissues_have_their_hounsfield_units(normal: tuple[Canvas, Body]) -> None:
    canvas, body = normal
    lung = canvas.hu[canvas.lung > 0]
    assert -880 < np.median(lung) < -820
    assert 0.01 < np.mean(lung > -600) < 0.2, "vessels"
    assert canvas.hu[0, 0, 0] == -1000
    assert 30 < at(canvas, body.at(-14, -12, -24)) < 165, "heart"
    assert 40 < at(canvas, (-0.5 * body.width, 0, body.domes[0] * body.height - 25)) < 70, "liver"
    assert -1000 <= at(canvas, body.at(0.5, 10, 85), 0) < -850, "trachea"
    assert (canvas.hu[:, :, :] > 300).sum() > 3000, "bone"
    below_skin = canvas.grid.y[-1] > 0 and at(canvas, (0, -(body.depth + 24 + body.fat / 2 - 4), -60), 0)
    assert -105 < below_skin < -60, "fat"


def test_lungs_are_two_with_five_lobes_of_sensible_size(normal: tuple[Canvas, Body]) -> None:
    canvas, _ = normal
    litres = np.bincount(canvas.lung.ravel(), minlength=6)[1:] * np.prod(canvas.grid.spacing) / 1e6
    assert 2.5 < litres.sum() < 7
    assert (litres > 0.2).all()
    x = np.broadcast_to(canvas.grid.x, canvas.grid.shape)
    assert x[(canvas.lung > 0) & (canvas.lung < 4)].mean() < -30
    assert x[canvas.lung > 3].mean() > 30


def test_patients_and_scans_vary() -> None:
    volumes = [make_volume(scan(patient=patient)) for patient in range(6)]
    assert all(min(volume.hu.shape) >= 96 for volume in volumes)
    assert len({volume.grid.spacing for volume in volumes}) == 6
    assert all(volume.grid.spacing[0] != volume.grid.spacing[2] for volume in volumes), "anisotropic"
    assert len({body_of(patient) for patient in range(6)}) == 6
    assert all(volume.hu.dtype == np.int16 for volume in volumes)
    again = make_volume(scan(patient=2))
    np.testing.assert_array_equal(again.hu, volumes[2].hu)
    assert not np.array_equal(make_volume(scan(patient=2, run=2)).hu.ravel()[:1000], volumes[2].hu.ravel()[:1000])


@pytest.mark.parametrize("finding", [f for f in PLACED if f.finding in PAINTERS], ids=lambda f: f"{f.finding} {f.site}")
def test_a_finding_changes_voxels_where_it_says(finding: PlantedFinding) -> None:
    grid = grid_of()
    body = adapt(body_of(0), (finding,))
    before = paint_chest(body, grid, np.random.default_rng([3, 0, 2]))
    after = paint(scan(finding), grid)
    changed = np.abs(after.hu - before.hu) > 40
    assert changed.sum() * np.prod(grid.spacing) / 1000 > 4, "millilitres"
    iz, iy, ix = np.nonzero(changed)
    place = np.array([grid.x[ix].mean(), grid.y[iy].mean(), grid.z[iz].mean()])
    if finding.side and finding.finding not in ("pacemaker", "goiter"):
        sign = -1 if finding.side == "right" else 1
        assert np.mean(sign * (grid.x[ix] - body.shift) > 0) > 0.75
    if finding.lobe:
        assert np.mean(before.lung[changed] == LOBES.index(finding.lobe) + 1) > 0.6
    expected = {"subcarinal": (0, 34, 8), "prevascular": (14, -40, 54), "arch": (0, 0, 66), "descending": (22, 50, -40)}
    if finding.site in expected:
        assert np.linalg.norm(place - body.at(*expected[finding.site])) < 50
    if finding.finding in ("pacemaker", "goiter"):
        bright = changed & (after.hu > (2000 if finding.finding == "pacemaker" else 60))
        mean = grid.x[np.nonzero(bright)[2]].mean()
        assert mean < -5 if finding.side == "right" else mean > 5


@pytest.mark.parametrize("size", [25, 40, 60])
def test_adenopathy_has_its_size_in_dark_fat(size: int) -> None:
    grid = make_grid((100, 100, 100), (3.4, 3.4, 3.0))
    finding = PlantedFinding("adenopathy", "right axillary", size)
    before, after = paint(scan(), grid), paint(scan(finding), grid)
    node = (after.hu > 20) & (np.abs(after.hu - before.hu) > 60) & (np.abs(after.hu - 95) < 30)
    _, iy, _ = np.nonzero(node)
    assert np.ptp(grid.y[iy]) <= size + 8
    z, y, x = grid.z[:, None, None], grid.y[None, :, None], grid.x[None, None, :]
    body = body_of(0)
    away = np.sqrt((x + body.width + 6) ** 2 + (y + 8) ** 2 + (z - 74 * body.height) ** 2)
    ring = after.hu[(away > size / 2 + 2) & (away < size / 2 + 5)]
    assert np.median(ring) < -60


def mean_of(canvas: Canvas, mask: np.ndarray) -> float:
    return float(canvas.hu[mask].mean())


def test_findings_that_deform_the_body() -> None:
    grid = grid_of()
    base = paint(scan(), grid)
    solid = (base.hu > 0).sum()
    for grade, least in (("mild", 1500), ("severe", 4000)):
        assert (paint(scan(PlantedFinding("cardiomegaly", "", grade)), grid).hu > 0).sum() - solid > least
    for site in ("ascending", "descending"):
        assert (paint(scan(PlantedFinding("aortic aneurysm", site, 70)), grid).hu > 0).sum() - solid > 1000
    liver = (base.hu > 50) & (base.hu < 66) & (grid.z < -110)[:, None, None] & (grid.x < -40)[None, None, :]
    assert mean_of(paint(scan(PlantedFinding("hepatic steatosis", "", "severe")), grid), liver) < 0
    body = body_of(0)
    height = int(np.abs(grid.z - 10).argmin())
    row = int(np.abs(grid.y - 0.8 * body.depth).argmin())
    for site, sign in (("right", -1), ("left", 1)):
        bent = paint(scan(PlantedFinding("scoliosis", site, "severe")), grid).hu[height, row]
        near = np.abs(grid.x) < 70
        assert sign * grid.x[(bent > 120) & near].mean() > 15


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_file_says_where_the_patients_right_is(side: str, tmp_path: Path) -> None:
    flips = set()
    for run in range(1, 7):
        volume = make_volume(scan(PlantedFinding("pleural effusion", side, "large"), run=run))
        flips.add(volume.flips)
        write_volume(volume, tmp_path / "v.nii.gz")
        image = sitk.ReadImage(str(tmp_path / "v.nii.gz"))
        assert image.GetPixelID() == sitk.sitkInt16
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.hu)
        np.testing.assert_allclose(image.GetSpacing(), volume.grid.spacing, rtol=1e-5)
        plain = make_volume(scan(run=run))
        _, _, where = np.nonzero((volume.hu > -100) & (plain.hu < -600))
        first = image.TransformIndexToPhysicalPoint((0, 0, 0))[0]
        last = image.TransformIndexToPhysicalPoint((image.GetSize()[0] - 1, 0, 0))[0]
        # SimpleITK's physical x grows towards the patient's left
        x = first + (last - first) * where.mean() / (image.GetSize()[0] - 1)
        assert x < -20 if side == "right" else x > 20
    assert len({flip[2] for flip in flips}) == 2, "both storage orders were seen"
