"""Spoilt input through the verb: each thing is set aside with its reason, the rest is taken in.

The exit code says so.
"""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.cli import main
from bimcvr.curation import BimcvCovid19, BimcvR, sources
from bimcvr.data.manifest import read_manifest
from curation.conftest import REPORTS, write_table, write_volume


def run(out: Path, kind: str, **options: str) -> tuple[int, dict[str, str]]:
    """The verb's exit code and what it set aside, by name."""
    words = [word for name, value in options.items() for word in (f"--source.{name}", value)]
    code = main(
        [
            "curate",
            "--source",
            f"bimcvr.curation.{kind}",
            *words,
            "--out",
            str(out),
            "--jobs",
            "1",
            "--checks",
            "{reject: [missing_voxels], review: []}",
            "--anonymise",
            "bimcvr.curation.Anonymiser",
            "--size",
            "[6, 8, 8]",
        ]
    )
    aside = pd.read_csv(out / "set_aside.csv", keep_default_na=False)
    assert all(aside["message"])
    return code, dict(zip(aside["name"], aside["reason"], strict=True))


def test_spoilt_volumes_keep_their_rows(tmp_path: Path) -> None:
    table = write_table(tmp_path, 7)
    whole = (tmp_path / "v1.nii.gz").read_bytes()
    (tmp_path / "v1.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "v2.nii.gz").write_bytes(b"")
    for number, share in ((3, 1.0), (4, 0.5)):
        image = sitk.ReadImage(str(tmp_path / "v5.nii.gz"))
        voxels = sitk.GetArrayFromImage(image).astype(np.float32)
        voxels.ravel()[: int(share * voxels.size)] = np.nan
        spoilt = sitk.GetImageFromArray(voxels)
        spoilt.CopyInformation(image)
        sitk.WriteImage(spoilt, str(tmp_path / f"v{number}.nii.gz"))
    (tmp_path / "v6.nii.gz").write_bytes(b"this is no gzip at all")
    code, aside = run(tmp_path / "out", "CsvTable", table=str(table))
    assert code == 3
    assert aside == {
        "s1": "truncated",
        "s2": "empty_file",
        "s3": "missing_voxels",
        "s4": "missing_voxels",
        "s6": aside["s6"],
    }
    rows = read_manifest(tmp_path / "out/manifest.csv").table.set_index("study_id")
    assert list(rows["status"]) == ["ok", "rejected", "rejected", "rejected", "rejected", "ok", "rejected"]
    assert all(reason in rows.loc[study, "flags"] for study, reason in aside.items())


def test_bad_rows_of_a_table(tmp_path: Path) -> None:
    write_table(tmp_path, 5)
    outside = write_volume(tmp_path.parent / f"{tmp_path.name}-secret.nii.gz")
    (tmp_path / "v3.nii.gz").unlink()
    (tmp_path / "v3.nii.gz").symlink_to(outside)
    lines = [
        "study_id,volume,report,patient_id",
        f"s0,v0.nii.gz,{REPORTS[0]},p0",
        's1,v1.nii.gz,"=HYPERLINK(""http://evil"")",p1',
        f"s2,../{outside.name},{REPORTS[1]},p2",
        f"s3,v3.nii.gz,{REPORTS[2]},p3",
        f"s4,gone.nii.gz,{REPORTS[3]},p4",
        f"s0,v4.nii.gz,{REPORTS[3]},p4",
        "s6,v4.nii.gz,Opacidad en l\xf3bulo superior con derrame.,p6",
    ]
    (tmp_path / "table.csv").write_bytes("\n".join(lines).encode("latin-1"))
    code, aside = run(tmp_path / "out", "CsvTable", table=str(tmp_path / "table.csv"))
    assert code == 3
    assert sorted(aside.values()) == [
        "duplicate_row",
        "encoding",
        "formula",
        "missing_file",
        "outside_root",
        "outside_root",
    ]
    rows = read_manifest(tmp_path / "out/manifest.csv").table
    assert list(rows["study_id"]) == ["s0", "s6"]
    assert "lóbulo" in rows["report"][1]


def test_spoilt_zips_of_the_released_layout(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "meta").mkdir(parents=True)
    names = [f"sub-S0{n}_ses-E0{n}_run-1_bp-chest_ct" for n in range(6)]
    volume = write_volume(tmp_path / "v.nii.gz").read_bytes()
    table = [
        {"path": f"/raid/CT1/ct/{name}.nii{'' if n == 2 else '.gz'}", "Report_en": f"{REPORTS[n % 4]} Number {n}."}
        for n, name in enumerate(names)
    ]
    pd.DataFrame(table).to_csv(root / "meta/BIMCV_meta.csv", index=False)
    with zipfile.ZipFile(root / "CT1.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"CT1/ct/{names[0]}.nii.gz", volume)
        packed.writestr(f"../../{names[1]}.nii.gz", volume)
        packed.writestr(f"CT1/ct/{names[2]}.nii", b"\0" * 30_000_000)
        link = zipfile.ZipInfo(f"CT1/ct/{names[3]}.nii.gz")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    (root / "CT2.zip").write_bytes((root / "CT1.zip").read_bytes()[:3000])
    with zipfile.ZipFile(root / "CT3.zip", "w") as packed:
        packed.writestr(f"CT3/ct/{names[4]}.nii.gz", volume)
    spoilt = bytearray((root / "CT3.zip").read_bytes())
    spoilt[len(spoilt) // 3] ^= 0xFF
    (root / "CT3.zip").write_bytes(bytes(spoilt))
    (root / "CT4").mkdir()
    (root / f"CT4/{names[5]}.nii.gz").symlink_to(tmp_path / "v.nii.gz")
    code, aside = run(tmp_path / "out", "BimcvR", root=str(root), keep="nothing")
    assert code == 3
    reasons = set(aside.values())
    assert {"path_traversal", "bad_zip", "symlink", "missing_file"} <= reasons
    assert {reason for name, reason in aside.items() if names[2] in name} == {"bomb"}
    assert all(any(names[number] in name for name in aside) for number in (3, 4))
    assert list(read_manifest(tmp_path / "out/manifest.csv").table["study_id"]) == [names[0]]
    assert (root / "CT1.zip").is_file(), "a shard that was not taken whole is not deleted"
    assert not list(tmp_path.parent.glob(f"{names[1]}*"))


def test_a_cut_tar_part_and_a_name_in_no_encoding(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    volume = write_volume(tmp_path / "v.nii.gz", side=40).read_bytes()
    folder = "covid19_posi/sub-S1/ses-E1/mod-rx"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        for name in ("run-1_bp-chest", "run-2\udcff", "run-3_bp-chest"):
            member = tarfile.TarInfo(f"{folder}/sub-S1_ses-E1_{name}_ct.nii.gz")
            member.size = len(volume)
            packed.addfile(member, io.BytesIO(volume))
    cut = gzip.compress(stream.getvalue())
    (root / "covid19_posi_subjects_part01.tar.gz").write_bytes(cut[: len(cut) * 5 // 6])
    text = "ReportID\tPatientID\tReport\nE1\tS1\tNódulo en el lóbulo superior derecho sin derrame pleural"
    (root / "labels").mkdir()
    (root / "labels/labels_covid_posi.tsv").write_text(text.replace("E1", "ses-E1").replace("S1", "sub-S1"))
    code, aside = run(tmp_path / "out", "BimcvCovid19", root=str(root))
    assert code == 3
    assert "bad_name" in aside.values()
    assert len(aside) >= 2
    rows = read_manifest(tmp_path / "out/manifest.csv").table
    assert "sub-S1_ses-E1_run-1_bp-chest_ct" in list(rows["study_id"])


def test_nothing_but_rubbish_ends_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v.nii.gz").write_bytes(struct.pack("<i", 348))
    (tmp_path / "table.csv").write_text("study_id,volume,report\ns0,gone.nii.gz,\"=cmd|' /C calc'!A0\"\n")
    words = [
        "curate",
        "--source",
        "bimcvr.curation.CsvTable",
        "--source.table",
        str(tmp_path / "table.csv"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 1
    aside = dict(pd.read_csv(tmp_path / "out/set_aside.csv")[["name", "reason"]].itertuples(index=False))
    assert list(aside.values()) == ["formula"]
    assert "has no usable study" in capsys.readouterr().err


def test_a_line_break_in_a_name_is_called_one(tmp_path: Path) -> None:
    write_volume(tmp_path / "a\nb.nii.gz", side=40)
    (tmp_path / "t.csv").write_text('study_id,volume,report\ns1,"a\nb.nii.gz",No pleural effusion is seen today\n')
    _, aside = run(tmp_path / "out", "CsvTable", table=str(tmp_path / "t.csv"))
    assert aside == {"s1": "bad_name"}
    assert "line break" in (tmp_path / "out/set_aside.csv").read_text()


def test_class_paths_of_earlier_configurations() -> None:
    assert (sources.bimcv_r.BimcvR, sources.bimcv_covid.BimcvCovid19) == (BimcvR, BimcvCovid19)
