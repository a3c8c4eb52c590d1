"""Where phantoms say that their findings are: held against the painted volumes."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bimcvr.commands.dataset.phantom import phantom
from bimcvr.data.hu.model_grid import ModelGrid
from bimcvr.data.manifest import read_manifest
from bimcvr.data.places import places_of
from bimcvr.data.reading.resample import place, read_on_grid
from bimcvr.errors import UserError
from bimcvr.phantom.image.acquisition import Scan, paint
from bimcvr.phantom.image.canvas import make_grid
from bimcvr.phantom.image.places import label_map, places_json
from bimcvr.phantom.reports.findings import FINDING_KINDS, PlantedFinding

GRID = make_grid((90, 100, 100), (3.5, 3.5, 3.2))


def painted(*findings: PlantedFinding) -> tuple[np.ndarray, dict[PlantedFinding, np.ndarray]]:
    """The HU and the voxels of each finding."""
    canvas = paint(Scan("s", 0, (1, 1), findings, 3), GRID)
    return canvas.hu, canvas.findings


@pytest.mark.parametrize("name", FINDING_KINDS)
def test_a_findings_voxels_are_those_that_it_changes(name: str) -> None:
    kind = FINDING_KINDS[name]
    finding = PlantedFinding(name, kind.sites[-1], kind.sizes[-1])
    before, _ = painted()
    after, masks = painted(finding)
    mask = masks[finding]
    litres = mask.sum() * np.prod(GRID.spacing) / 1e6
    assert 0.001 < litres < 6
    changed = np.abs(after - before) > 25
    # scoliosis and a wider heart or aorta move what was there before: of those, most of the organ is as it was
    if name not in ("cardiomegaly", "aortic aneurysm", "scoliosis"):
        assert changed[mask].mean() > 0.75
    else:
        assert changed[mask].mean() > 0.2
    (entry,) = json.loads(places_json(masks, GRID))
    assert entry["finding"].startswith(name)
    index = np.nonzero(mask)
    for axis, low_high in zip((2, 1, 0), zip(entry["centre"], entry["half_axes"], strict=True), strict=True):
        positions = (GRID.z, GRID.y, GRID.x)[axis][index[axis]]
        assert positions.min() - 2 <= low_high[0] <= positions.max() + 2
        assert 0.25 * np.ptp(positions) < low_high[1] < 1.01 * np.ptp(positions) + 4


@pytest.mark.parametrize("size", [20, 30])
def test_a_nodule_is_a_ball_of_its_size(size: int) -> None:
    _, masks = painted(PlantedFinding("nodule", "right upper lobe", size))
    (entry,) = json.loads(places_json(masks, GRID))
    # painted 1 mm larger than its name says
    assert entry["half_axes"] == pytest.approx([size / 2 + 1] * 3, rel=0.06)
    assert entry["centre"][0] < -30
    assert entry["centre"][2] > 20


def test_in_a_map_of_numbers_the_later_finding_covers_the_earlier() -> None:
    heart, fluid = PlantedFinding("cardiomegaly", "", "mild"), PlantedFinding("pleural effusion", "left", "large")
    _, masks = painted(fluid, heart)
    assert list(masks) == [heart, fluid]
    numbers = label_map(masks, GRID.shape)
    assert set(np.unique(numbers)) == {0, 1, 2}
    assert np.array_equal(numbers == 2, masks[fluid])
    assert np.array_equal(numbers == 1, masks[heart] & ~masks[fluid])


def test_a_cohort_says_where_its_findings_are(tmp_path: Path) -> None:
    phantom(tmp_path, 3, 4, jobs=1, masks=True)
    manifest = read_manifest(tmp_path / "manifest.csv")
    checked = 0
    for row in range(len(manifest)):
        image = sitk.ReadImage(str(manifest.volume_path(row)))
        numbers = sitk.ReadImage(str(tmp_path / "masks" / manifest.volume_path(row).relative_to(tmp_path / "volumes")))
        assert (numbers.GetOrigin(), numbers.GetDirection()) == (image.GetOrigin(), image.GetDirection())
        array, grid = sitk.GetArrayFromImage(numbers), ModelGrid((48, 48, 48), (7.0, 8.0, 8.0))
        seen = read_on_grid(manifest.volume_path(row), grid)
        assert np.array_equal(place(manifest.volume_path(row), grid).model_affine(), seen.placement.model_affine())
        for number, spot in enumerate(places_of(manifest, row), 1):
            assert spot.finding in manifest.cell("labels", row).split(";")
            index = np.argwhere(array == number)[:, ::-1]
            if not len(index):
                continue
            middle = np.mean([image.TransformIndexToPhysicalPoint(voxel) for voxel in index.tolist()], axis=0)
            if number == array.max():  # nothing covers it
                assert spot.centre == pytest.approx(middle, abs=0.1)
                checked += 1
            # the ellipsoid has the volume of the finding, and on the model's grid too
            share = spot.share(seen.placement.model_affine(), grid.size)
            mm3 = share.sum() * 7.0 * 8.0 * 8.0
            assert mm3 == pytest.approx(4 / 3 * np.pi * np.prod(spot.half_axes), rel=0.2)
    assert checked >= 2


def test_an_older_cohort_gets_its_places(tmp_path: Path) -> None:
    phantom(tmp_path, 1, 4, jobs=1)
    whole = (tmp_path / "manifest.csv").read_bytes()
    volume = next(tmp_path.glob("volumes/*/*.nii.gz"))
    before = volume.stat().st_mtime_ns
    (file,) = tmp_path.glob("places/*/*.json")
    file.unlink()
    phantom(tmp_path, 1, 4, jobs=1)
    assert (tmp_path / "manifest.csv").read_bytes() == whole
    assert volume.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "cell",
    ["nodule", "{}", '[{"finding":"nodule"}]', '[{"finding":"a","centre":[0,0],"half_axes":[1,1,1]}]',
     '[{"finding":"a","centre":[0,0,0],"half_axes":[1,0,1]}]', '[{"finding":"","centre":[0,0,0],"half_axes":[1,1,1]}]',
     '[{"finding":"a","centre":[0,0,1e999],"half_axes":[1,1,1]}]'],
)  # fmt: skip
def test_a_cell_that_is_no_list_of_places_is_refused(cell: str, tmp_path: Path) -> None:
    quoted = cell.replace('"', '""')
    (tmp_path / "manifest.csv").write_text(f'study_id,volume,report,places\na,a.nii,text,"{quoted}"\n')
    manifest = read_manifest(tmp_path / "manifest.csv")
    with pytest.raises(UserError, match=r"row 1 .study_id 'a'.: 'places' is not"):
        places_of(manifest, 0)
