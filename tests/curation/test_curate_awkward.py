"""Archives with everything awkward at once: each item is named in set_aside.csv, every sound study is taken."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pandas as pd

from bimcvr.data.manifest import read_manifest
from bimcvr.data.reading.volume import read_volume
from curation.conftest import REPORTS, write_volume


def name_of(number: int) -> str:
    return f"sub-S{number:02d}_ses-E{number:02d}_run-1_bp-chest_ct.nii.gz"


def packed_volume(folder: Path, number: int) -> bytes:
    return write_volume(folder / f"{number}.nii.gz", number).read_bytes()


def make_zip(path: Path, members: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path.read_bytes()


def with_method(content: bytes, name: str, method: int) -> bytes:
    """A zip in which a member claims another compression method, in both of its headers."""
    changed = bytearray(content)
    for signature, offset, method_at in ((b"PK\x03\x04", 30, 8), (b"PK\x01\x02", 46, 10)):
        header = changed.rindex(name.encode()) if offset == 46 else changed.index(name.encode())
        header -= offset
        assert changed[header : header + 4] == signature
        changed[header + method_at : header + method_at + 2] = method.to_bytes(2, "little")
    return bytes(changed)


def curate(root: Path, out: Path, source: str, work: Path = Path()) -> tuple[int, dict[str, str], dict[str, str]]:
    """The exit code of the verb in a process of its own, and reason and message of each item set aside."""
    words = ["curate", "--source", f"bimcvr.curation.{source}", "--source.root", os.fspath(root), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "bimcvr", *words, "--jobs", "1", "--size", "[6, 8, 8]"],
        capture_output=True,
        check=False,
        cwd=work,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    aside = pd.read_csv(work / out / "set_aside.csv", keep_default_na=False)
    return (
        done.returncode,
        dict(zip(aside["name"], aside["reason"], strict=True)),
        dict(zip(aside["name"], aside["message"], strict=True)),
    )


def test_a_released_archive(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "meta").mkdir(parents=True)
    volumes = {number: packed_volume(tmp_path / "made", number) for number in range(1, 14)}
    # made on Windows and on macOS
    make_zip(root / "CT1.zip", {f"CT1\\ct\\{name_of(1)}": volumes[1]})
    resource_fork = {f"__MACOSX/CT2/ct/._{name_of(2)}": b"\0\5\x16\7", "CT2/.DS_Store": b"x"}
    two = make_zip(
        root / "CT2.zip", {f"CT2/ct/{name_of(number)}": volumes[number] for number in (2, 3)} | resource_fork
    )
    (root / "CT2.zip").write_bytes(with_method(two, f"CT2/ct/{name_of(3)}", 9))
    split = make_zip(root / "CT3.zip", {f"CT3/ct/{name_of(4)}": volumes[4]})
    (root / "CT3.z01").write_bytes(split[:300])
    (root / "CT3.zip").write_bytes(split[300:-4])
    twice = make_zip(root / "CT4.zip", {f"CT4/ct/{name_of(5)}": volumes[5]})
    (root / "CT4 (1).zip").write_bytes(twice)
    # the first download broke off, the second is whole
    whole = make_zip(root / "CT5 (1).zip", {f"CT5/ct/{name_of(6)}": volumes[6]})
    (root / "CT5.zip").write_bytes(whole[:-100])
    (root / "CT6.zip").write_bytes(b"<html>404 Not Found</html>")
    (root / "CT7.tar.xz").write_bytes(b"\xfd7zXZ\0")
    (root / "CT8.zip.crdownload").write_bytes(twice[:50])
    latin1 = os.fsencode(root) + b"/CT9/t\xf3rax"
    os.makedirs(latin1)
    Path(os.fsdecode(latin1 + b"/" + name_of(7).encode())).write_bytes(volumes[7])
    Path(os.fsdecode(latin1 + b"/sub-S99_ni\xf1o.nii.gz")).write_bytes(volumes[8])
    for number in (8, 9, 10, 11, 12):
        (root / "CT10").mkdir(exist_ok=True)
        (root / "CT10" / name_of(number)).write_bytes(volumes[number])
    rows = {number: [f"sub-S{number:02d}", f"/raid/{name_of(number)}", REPORTS[number % 4]] for number in range(1, 13)}
    rows[5][0] = "nan"
    rows[7][2] = "=> " + rows[7][2]
    rows[8][2] = "-Nódulo(s) en LSD, estable; sin derrame."
    lines = ["sep=;", "PatientID;ct_path;Report_en;Labels;PatientID"]
    for number, (patient, path, report) in rows.items():
        report = f'"{report}' if number == 9 else f'"{report}"'
        labels = {8: "['nodule' 'pleural effusion']", 10: "['nodule', 'mass' 'cyst']"}.get(number, "['nodule']")
        other = "sub-S77" if number == 12 else patient
        lines.append(f'{patient};{path};{report};"{labels}";{other}')
        if number == 11:
            lines[-1] = lines[-1].replace("nodule", "nod\0ule")
    (root / "meta/BIMCV-R.csv").write_bytes("\r\n".join(lines).encode("utf-16"))
    code, reasons, messages = curate(root, tmp_path / "out", "BimcvR")
    assert code == 3
    manifest = read_manifest(tmp_path / "out/manifest.csv")
    taken = dict(zip(manifest.column("study_id"), range(len(manifest)), strict=True))
    assert set(taken) == {name_of(number).removesuffix(".nii.gz") for number in (1, 2, 5, 6, 7, 8, 10)}
    eight = taken[name_of(8).removesuffix(".nii.gz")]
    assert manifest.column("archive_labels")[eight] == "nodule;pleural effusion"
    assert manifest.column("report")[eight] == rows[8][2]
    assert manifest.column("patient_id")[taken[name_of(5).removesuffix(".nii.gz")]] == "sub-S05"
    seven = manifest.volume_path(taken[name_of(7).removesuffix(".nii.gz")])
    assert (read_volume(seven).hu == read_volume(tmp_path / "made/7.nii.gz").hu).all()
    table = "BIMCV-R.csv"
    assert reasons == {
        f"CT2.zip: CT2/ct/{name_of(3)}": "unsupported_method",
        "CT3.zip": "split_archive",
        "CT3.z01": "split_archive",
        "CT4 (1).zip": "duplicate_archive",
        "CT5.zip": "bad_zip",
        "CT6.zip": "bad_zip",
        "CT7.tar.xz": "unread_archive",
        "CT8.zip.crdownload": "unfinished_download",
        f"{table}: PatientID": "duplicate_column",
        f"{table}: line 6": "missing_file",
        f"{table}: line 11": "unreadable_row",
        f"{table}: line 13": "unreadable_row",
        f"{table}: line 14": "duplicate_column",
        f"{name_of(10).removesuffix('.nii.gz')}: Labels": "unreadable_list",
        r"sub-S99_ni\xf1o.nii.gz": "no_row",
        name_of(9): "no_row",
        name_of(11): "no_row",
        name_of(12): "no_row",
    }
    assert "Deflate64" in messages[f"CT2.zip: CT2/ct/{name_of(3)}"]
    assert "web page" in messages["CT6.zip"]
    assert "CT4.zip" in messages["CT4 (1).zip"]


def test_a_raw_archive(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "derivatives/labels").mkdir(parents=True)
    volumes = {number: packed_volume(tmp_path / "made", number) for number in range(1, 8)}
    folder = b"covid19_posi/sub-S%02d/ses-E%02d/mod-rx/"

    def add(packed: tarfile.TarFile, number: int, content: bytes, below: bytes = b"") -> None:
        info = tarfile.TarInfo(os.fsdecode(folder % (number, number) + below + name_of(number).encode()))
        info.size = len(content)
        packed.addfile(info, io.BytesIO(content))

    for number, (kind, mode) in enumerate((("tar.bz2", "w:bz2"), ("tar.xz", "w:xz"), ("tgz", "w:gz")), 1):
        with tarfile.open(root / f"covid19_posi_subjects_part{number}.{kind}", mode) as packed:  # type: ignore[call-overload]
            add(packed, number, volumes[number], b"t\xf3rax/" if number == 3 else b"")
    (root / "covid19_posi_subjects_part3 (1).tgz").write_bytes((root / "covid19_posi_subjects_part3.tgz").read_bytes())
    # `tar -u`: the last copy counts
    with tarfile.open(root / "covid19_posi_subjects_part4.tar", "w") as packed:
        add(packed, 4, volumes[5])
        add(packed, 4, volumes[4])
    make_zip(root / "covid19_posi_subjects_part5.zip", {name_of(6): volumes[6]})
    (root / "covid19_posi_subjects_part6.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    table = ["ReportID\tPatientID\tReport\tLabels"]
    table += [f"ses-E{number:02d}\tNone\tsin derrame pleural número {number}\t['nodule']" for number in range(1, 5)]
    (root / "derivatives/labels/labels_covid19_posi.tsv").write_text("\n".join([*table, "nan\tp\tsin clave\t[]"]))
    code, reasons, _ = curate(root, tmp_path / "out", "BimcvCovid19")
    assert code == 3
    manifest = read_manifest(tmp_path / "out/manifest.csv")
    assert sorted(manifest.column("report_id")) == [f"ses-E{number:02d}" for number in range(1, 5)]
    assert sorted(manifest.column("patient_id")) == [f"sub-S{number:02d}" for number in range(1, 5)]
    for row, session in enumerate(manifest.column("report_id")):
        expected = read_volume(tmp_path / f"made/{int(session[-2:])}.nii.gz")
        assert (read_volume(manifest.volume_path(row)).hu == expected.hu).all()
    assert reasons == {
        "covid19_posi_subjects_part3 (1).tgz": "duplicate_archive",
        "covid19_posi_subjects_part5.zip": "unread_archive",
        "covid19_posi_subjects_part6.tar.zst": "unread_archive",
        "labels_covid19_posi.tsv: line 6": "no_key",
    }


def test_a_working_folder_in_no_encoding(tmp_path: Path) -> None:
    """Options cannot name such a folder, but relative paths lead into it."""
    work = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xf3ot"))
    (work / "root/CT1").mkdir(parents=True)
    write_volume(tmp_path / "1.nii.gz").rename(work / "root/CT1" / name_of(1))
    table = f"ct_path,Report_en\n{name_of(1)},{REPORTS[0]}\n{name_of(2)},{REPORTS[1]}\n"
    (work / "root/BIMCV-R.csv").write_text(table)
    code, reasons, _ = curate(Path("root"), Path("out"), "BimcvR", work)
    assert (code, reasons) == (3, {"BIMCV-R.csv: line 3": "missing_file"})
    assert read_manifest(work / "out/manifest.csv").column("volume") == [f"../root/CT1/{name_of(1)}"]


def test_an_archive_without_anything_points_to_no_empty_file(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    words = ["curate", "--source", "bimcvr.curation.BimcvCovid19", "--source.root", str(tmp_path / "root")]
    done = subprocess.run(
        [sys.executable, "-m", "bimcvr", *words, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no study" in done.stderr
    assert "set_aside" not in done.stderr
