"""Every defect of a volume is found, and a sound scan is left alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from defective import OTHER_PARTS, WRONG_VOXELS, Spacing, chest, padded, patch, write

from bimcvr.curation.audit.nifti_orientation import orientation_conflict
from bimcvr.curation.audit.volume_checks import check_volume
from bimcvr.curation.audit.volume_facts import measure_volume
from bimcvr.data.reading.refused import RefusedVolume


def flags_of(path: Path) -> dict[str, str]:
    return {finding.flag: finding.evidence for finding in check_volume("s", measure_volume(path))}


@pytest.mark.parametrize("patient", range(4))
def test_a_sound_scan_is_left_alone(patient: int, tmp_path: Path) -> None:
    assert flags_of(write(tmp_path / "v.nii", *chest(patient))) == {}


@pytest.mark.parametrize("flips", [(-1, 1, 1), (1, -1, 1), (-1, -1, -1)])
def test_how_a_sound_scan_is_stored_does_not_matter(flips: tuple[int, int, int], tmp_path: Path) -> None:
    hu, spacing = chest(1)
    stored = hu[:: flips[2], :: flips[1], :: flips[0]]
    assert (
        flags_of(write(tmp_path / "v.nii.gz", np.ascontiguousarray(stored), spacing, np.diag(flips).astype(float)))
        == {}
    )


def test_halved_values_are_no_hu(tmp_path: Path) -> None:
    hu, spacing = chest(0)
    assert "no air near" in flags_of(write(tmp_path / "v.nii", hu // 2, spacing))["not_hu"]


@pytest.mark.parametrize("kind", WRONG_VOXELS)
def test_each_wrong_volume_gets_its_flag(kind: str, tmp_path: Path) -> None:
    flag, spoil = WRONG_VOXELS[kind]
    hu, spacing = spoil(*chest(2))
    found = flags_of(write(tmp_path / "v.nii", np.ascontiguousarray(hu), spacing))
    assert flag in found
    if flag == "not_hu":
        # in another unit nothing else can be said of the voxels
        assert set(found) == {"not_hu"}
        name = {
            "rescaled twice, clipped": "rescaled twice",
            "scaled to 0 and 1": "8-bit",
            "offset 8192": "shifted",
            "soft-tissue window": "windowed",
        }.get(kind, kind)
        assert name in found["not_hu"]


@pytest.mark.parametrize("part", OTHER_PARTS)
@pytest.mark.parametrize("seed", range(3))
def test_another_part_of_the_body_is_no_chest(part: str, seed: int, tmp_path: Path) -> None:
    assert set(flags_of(write(tmp_path / "v.nii", *OTHER_PARTS[part](np.random.default_rng(seed))))) == {"not_chest"}


def test_a_chest_seen_down_to_the_pelvis_is_a_chest(tmp_path: Path) -> None:
    hu, spacing = chest(1)
    legs = np.repeat(hu[:1], 90, axis=0)
    noise = np.random.default_rng(1).integers(-20, 21, legs.shape, dtype=np.int16)
    trunk = np.concatenate([legs + noise, hu])
    assert flags_of(write(tmp_path / "v.nii", trunk, spacing)) == {}


@pytest.mark.parametrize(
    ("share", "value", "flagged"),
    [
        (0.2, -2000, False),
        (0.4, -2000, True),
        (0.4, np.nan, True),
        (0.2, np.nan, False),
    ],
)
def test_missing_voxels_above_30_percent(share: float, value: float, flagged: bool, tmp_path: Path) -> None:
    hu, spacing = chest(1)
    found = flags_of(write(tmp_path / "v.nii", padded(hu, share, value), spacing))
    assert ("missing_voxels" in found) == flagged


def test_blank_slices_are_missing(tmp_path: Path) -> None:
    hu, spacing = chest(1)
    hu[: len(hu) // 3] = -1000
    assert "blank slices" in flags_of(write(tmp_path / "v.nii", hu, spacing))["missing_voxels"]


def _mirrored(path: Path) -> Path:
    # sform row x: the first voxel axis the other way
    return patch(path, 280, "f", -float(np.frombuffer(path.read_bytes()[280:284], "<f4")[0]))


def _turned(path: Path) -> Path:
    # quaternion of a quarter turn about z
    return patch(path, 256, "3f", 0, 0, 0.70710678)


def _other_size(path: Path) -> Path:
    return patch(path, 88, "f", 9.0)


@pytest.mark.parametrize(
    ("spoil", "said"), [(_mirrored, "handedness"), (_turned, "rotation of"), (_other_size, "pixdim")]
)
def test_a_header_that_contradicts_itself(spoil: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", *chest(1))
    assert orientation_conflict(path) == ""
    assert said in orientation_conflict(spoil(path))
    # without an sform there is nothing to contradict
    assert orientation_conflict(patch(path, 254, "h", 0)) == ""


def test_contradictions_are_of_nifti_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", *chest(1))
    sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / "v.nrrd"))
    assert orientation_conflict(tmp_path / "v.nrrd") == ""
    # one that exchanges the sides is refused by the reader, so that no verb has to choose
    with pytest.raises(RefusedVolume, match="contradicts itself"):
        flags_of(_mirrored(path))


def _coronal(hu: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, Spacing, np.ndarray]:
    # file axes x, y, z point left, up and back
    direction = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    return np.ascontiguousarray(hu.transpose(1, 0, 2)), (spacing[1], spacing[0], spacing[2]), direction


def test_coronal_slices_and_turned_axes(tmp_path: Path) -> None:
    hu, spacing = chest(1)
    found = flags_of(write(tmp_path / "v.nii", *_coronal(hu, spacing)))
    assert set(found) == {"orientation"}
    assert "coronal" in found["orientation"]
    angle = np.radians(20)
    turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    assert "20.0°" in flags_of(write(tmp_path / "v.nii", hu, spacing, turned))["orientation"]
