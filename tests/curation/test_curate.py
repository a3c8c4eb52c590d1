"""The verb `curate`: from an archive to a manifest that trains, idempotent, incremental, with people's word last."""

import csv
import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import SimpleITK as sitk

from bimcvr.cli import main
from bimcvr.commands.dataset.curate import curate
from bimcvr.curation.anonymise.anonymiser import Anonymised, Anonymiser
from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.pipeline.decisions import Checks, SplitStep
from bimcvr.curation.pipeline.denoise import Denoise
from bimcvr.curation.pipeline.steps import TranslateStep
from bimcvr.curation.sources.bimcv.bimcv_covid import BimcvCovid19
from bimcvr.curation.sources.bimcv.bimcv_r import BimcvR
from bimcvr.curation.sources.csv_table import CsvTable
from bimcvr.data.manifest import read_manifest
from bimcvr.errors import UserError
from curation.conftest import REPORTS, write_table
from helpers.cli import TINY, newest_run

EXPERIMENTS = Path(__file__).parents[2] / "src/bimcvr/experiments/curate"
ALL: dict[str, Any] = {
    "anonymise": Anonymiser(),
    "translate": TranslateStep(),
    "checks": Checks(),
    "extract_labels": LabelExtractor(),
    "review": Path("review.csv"),
    "assign_splits": SplitStep(),
    "jobs": 1,
}


def rows_of(out: Path) -> pd.DataFrame:
    return read_manifest(out / "manifest.csv").table.set_index("study_id")


def content(out: Path) -> dict[str, tuple[bytes, int]]:
    """Every file that a run has left, with its time."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["folders", "shards"])
@pytest.mark.parametrize("layout", ["bimcv_r", "bimcv_covid19"])
def test_from_a_raw_archive_to_a_result(
    layout: str, packing: str, archive: Callable[[str, str], Path], tmp_path: Path
) -> None:
    root, out = archive(layout, packing), tmp_path / "out"
    words = [
        "curate",
        "--config",
        str(EXPERIMENTS / f"phantom_{layout}.yaml"),
        "--source.root",
        str(root),
        "--out",
        str(out),
    ]
    assert main(words) == 0
    (tmp_path / "tiny.yaml").write_text(TINY)
    train = [
        "--config",
        str(tmp_path / "tiny.yaml"),
        "--data.manifest",
        str(out / "manifest.csv"),
        "--runs",
        str(tmp_path / "runs"),
    ]
    assert main(["fit", *train]) == 0
    assert main(["test", *train, "--ckpt_path", "best"]) == 0
    assert (newest_run(tmp_path / "runs") / "result.json").is_file()
    manifest = read_manifest(out / "manifest.csv")
    assert manifest.is_phantom
    filled = [
        "study_id",
        "volume",
        "report",
        "report_original",
        "language",
        "labels_source",
        "sha256",
        "width",
        "spacing_d",
        "status",
    ]
    for name in filled:
        assert all(manifest.column(name)), name
    assert {"flags", "split", "labels", "patient_id", "report_id"} <= set(manifest.table)
    assert set(manifest.column("language")) == {"en" if layout == "bimcv_r" else "es"}


@pytest.mark.slow
def test_no_personal_datum_and_no_report_stands_outside_its_column(archives: Path, tmp_path: Path) -> None:
    for layout, source in (("bimcv_r", BimcvR), ("bimcv_covid19", BimcvCovid19)):
        out = tmp_path / layout
        curate(source(str(archives / "folders" / layout), work=str(tmp_path / "work")), out, **ALL)
        table = rows_of(out)
        truth = pd.read_csv(archives / "folders" / f"{layout}.truth.csv", keep_default_na=False).set_index("study_id")
        known = [item.split("=", 1) for cell in truth["personal"] for item in cell.split(";") if "=" in item]
        assert known
        told = "\n".join(
            [*table["report"], *table["report_original"], (out / "review.csv").read_text(encoding="utf-8-sig")]
        ).lower()
        # in the released layout, without capitals and points, a hospital's or a doctor's name does not end anywhere
        left = [
            text
            for kind, text in known
            if text.lower() in told and (layout == "bimcv_covid19" or kind not in ("HOSPITAL", "NAME"))
        ]
        assert left == []
        logs = "\n".join(path.read_text() for path in [*(out / "log").glob("*.csv"), out / "set_aside.csv"]).lower()
        for report in [*table["report"], *table["report_original"], *truth["report_spanish"]]:
            words = report.lower().split()
            assert not any(" ".join(words[start : start + 5]) in logs for start in range(max(1, len(words) - 4)))


def test_a_second_run_touches_no_file_and_new_studies_are_added(tmp_path: Path) -> None:
    table, out = write_table(tmp_path, 3), tmp_path / "out"
    options = {**ALL, "size": (6, 8, 8), "checks": Checks(("report_short",), ())}
    assert curate(CsvTable(str(table)), out, **options) == 0
    before, rows = content(out), rows_of(out)
    assert curate(CsvTable(str(table)), out, **options) == 0
    assert content(out) == before
    write_table(tmp_path, 5)
    assert curate(CsvTable(str(table)), out, **options) == 0
    assert list(rows_of(out).index) == ["s0", "s1", "s2", "s3", "s4"]
    pd.testing.assert_frame_equal(rows_of(out).loc[rows.index], rows)
    kept = content(out)
    assert all(kept[name] == file for name, file in before.items() if name.startswith(("facts", "cache", "checksums")))


def test_what_reviewers_wrote_is_taken_in_and_stays(tmp_path: Path) -> None:
    table, out = write_table(tmp_path, 4), tmp_path / "out"
    failed = "I am sorry, as an AI language model I cannot translate this report."
    frame = pd.read_csv(table)
    frame.loc[[0, 1, 2], "report"] = [f"{failed} {number}" for number in range(3)]
    frame.to_csv(table, index=False)
    options = {**ALL, "checks": Checks(())}
    curate(CsvTable(str(table)), out, **options)
    assert list(rows_of(out)["status"]) == ["review", "review", "review", "ok"]
    assert list(rows_of(out)["split"].astype(bool)) == [False, False, False, True]
    queue = out / "review.csv"
    lines = list(csv.DictReader(queue.read_text(encoding="utf-8-sig").splitlines()))
    answers = {
        "s0": ("correct", "Large mass in the left upper lobe, none elsewhere.", ""),
        "s1": ("reject", "", ""),
        "s2": ("correct", "Emphysema and a nodule.", "emphysema;nodule"),  # no failed translation is accepted as it is
    }
    for line in lines:
        line["decision"], line["corrected"], line["labels"] = answers[line["study_id"]]
        line["reviewer"] = "R1"
    with queue.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    edited = queue.read_bytes()
    for _ in range(2):
        curate(CsvTable(str(table)), out, **options)
        assert queue.read_bytes() == edited
        rows = rows_of(out)
        assert list(rows["status"]) == ["ok", "rejected", "ok", "ok"]
        assert rows.loc["s0", "report"] == answers["s0"][1]
        assert (rows.loc["s0", "labels"], rows.loc["s0", "labels_source"]) == ("mass", "keywords")
        assert "placeholder" not in rows.loc["s0", "flags"]
        assert (rows.loc["s2", "labels"], rows.loc["s2", "labels_source"]) == ("emphysema;nodule", "expert")
        assert rows.loc["s0", "report_original"].startswith("I am sorry")


def test_flags_decide_as_they_are_told_to(tmp_path: Path) -> None:
    table = write_table(tmp_path, 3)
    frame = pd.read_csv(table)
    frame.loc[1, "report"] = "Normal."
    frame.to_csv(table, index=False)
    source = CsvTable(str(table))
    curate(source, tmp_path / "paper", **ALL)
    assert list(rows_of(tmp_path / "paper")["status"]) == ["rejected"] * 3  # 20 voxels: too_small
    curate(source, tmp_path / "noted", **{**ALL, "checks": Checks((), ())})
    noted = rows_of(tmp_path / "noted")
    assert list(noted["status"]) == ["ok"] * 3
    assert "report_short" in noted.loc["s1", "flags"]
    curate(source, tmp_path / "asked", **{**ALL, "checks": Checks((), ("report_short",))})
    assert list(rows_of(tmp_path / "asked")["status"]) == ["ok", "review", "ok"]
    curate(source, tmp_path / "bare", jobs=1)
    bare = rows_of(tmp_path / "bare")
    assert not any(bare["flags"])
    assert list(bare["report"]) == list(frame["report"])
    assert {path.name for path in (tmp_path / "bare/log").iterdir()} == {"checks.csv"}
    with pytest.raises(UserError, match="Did you mean 'not_chest'"):
        Checks(("not_chets",))


def test_without_a_queue_nothing_waits(tmp_path: Path) -> None:
    curate(CsvTable(str(write_table(tmp_path, 2))), tmp_path / "out", checks=Checks((), ("too_small",)), jobs=1)
    assert list(rows_of(tmp_path / "out")["status"]) == ["ok", "ok"]


class Glossary:
    """A translator of two reports; it loses the negation of the second."""

    identity = "glossary 1"

    def __call__(self, report: Anonymised, problems: Sequence[str] = ()) -> str:
        assert "García" not in report.text
        return (
            "Pleural effusion."
            if report.text.startswith("Sin")
            else "Nodule of 5 mm in the right upper lobe. Patient: [NAME]."
        )


def test_a_doubtful_translation_is_used_once_a_reviewer_accepts_it(tmp_path: Path) -> None:
    table, out = write_table(tmp_path, 2), tmp_path / "out"
    frame = pd.read_csv(table)
    frame["language"] = "es"
    frame["report"] = ["Nódulo de 5 mm en lóbulo superior derecho. Paciente: García Pérez.", "Sin derrame pleural."]
    frame.to_csv(table, index=False)
    options = {**ALL, "translate": TranslateStep(Glossary()), "checks": Checks((), ())}
    curate(CsvTable(str(table)), out, **options)
    rows = rows_of(out)
    assert rows.loc["s0", "report"] == "Nodule of 5 mm in the right upper lobe. Patient: [NAME]."
    assert list(rows["language"]) == ["en", "es"]
    assert (rows.loc["s1", "report"], rows.loc["s1", "status"]) == ("Sin derrame pleural.", "review")
    queue = out / "review.csv"
    lines = list(csv.DictReader(queue.read_text(encoding="utf-8-sig").splitlines()))
    asked = next(line for line in lines if line["study_id"] == "s1")
    assert asked["report"] == "Pleural effusion."
    for line in lines:
        line["decision"], line["reviewer"] = "accept", "R1"
    pd.DataFrame(lines).to_csv(queue, index=False)
    curate(CsvTable(str(table)), out, **options)
    assert (rows_of(out).loc["s1", "report"], rows_of(out).loc["s1", "status"]) == ("Pleural effusion.", "ok")
    with pytest.raises(UserError, match="without anonymise"):
        curate(CsvTable(str(table)), out, **{**options, "anonymise": None})


def test_a_failed_translation_is_no_report_whoever_accepts_it(tmp_path: Path) -> None:
    class Failing(Glossary):
        identity = "failing 1"

        def __call__(self, report: Anonymised, problems: Sequence[str] = ()) -> str:
            return "Something wrong with the data!" if report.text.startswith("Sin") else "Nodule of 5 mm."

    table, out = write_table(tmp_path, 1), tmp_path / "out"
    frame = pd.read_csv(table)
    frame["language"], frame["report"] = "es", "Sin derrame pleural ni otras alteraciones."
    frame.to_csv(table, index=False)
    options = {**ALL, "translate": TranslateStep(Failing()), "checks": Checks((), ("placeholder",))}
    queue = out / "review.csv"

    def answered(**cells: str) -> "pd.Series[str]":
        lines = list(csv.DictReader(queue.read_text(encoding="utf-8-sig").splitlines()))
        assert [line["original"] for line in lines] == ["Sin derrame pleural ni otras alteraciones."]
        pd.DataFrame([line | {"reviewer": "R1"} | cells for line in lines]).to_csv(queue, index=False)
        curate(CsvTable(str(table)), out, **options)
        return rows_of(out).loc["s0"]

    curate(CsvTable(str(table)), out, **options)
    accepted = answered(decision="accept")
    assert (accepted["status"], accepted["report"]) == ("review", "Sin derrame pleural ni otras alteraciones.")
    corrected = answered(decision="correct", corrected="No pleural effusion.")
    assert (corrected["status"], corrected["report"]) == ("ok", "No pleural effusion.")


def test_denoising_writes_a_copy_and_leaves_the_source(tmp_path: Path) -> None:
    table, out = write_table(tmp_path, 1), tmp_path / "out"
    source = (tmp_path / "v0.nii.gz").read_bytes()
    options = {"denoise": Denoise("MedianImageFilter", {"Radius": 1}), "size": (6, 8, 8), "jobs": 1}
    assert curate(CsvTable(str(table)), out, **options) == 0
    row = rows_of(out).loc["s0"]
    copy = sitk.ReadImage(str(out / row["volume"]))
    wanted = sitk.Median(sitk.ReadImage(str(tmp_path / "v0.nii.gz")), [1, 1, 1])
    assert abs(sitk.GetArrayFromImage(copy).astype(int) - sitk.GetArrayFromImage(wanted)).max() == 0
    assert (tmp_path / "v0.nii.gz").read_bytes() == source
    before = content(out)
    curate(CsvTable(str(table)), out, **options)
    assert content(out) == before
    with pytest.raises(UserError, match="no filter"):
        curate(CsvTable(str(table)), out, denoise=Denoise("Medain"))


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_parses_and_says_what_it_is_for(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert path.read_text().splitlines()[0].startswith("# Purpose: ")
    monkeypatch.chdir(tmp_path)
    for root in ("BIMCV-R", "phantoms/bimcv_r", "phantoms/bimcv_covid19"):
        Path(root).mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        main(["curate", "--config", str(path), "--print_config"])
    assert ended.value.code == 0


def test_usage_mistakes_are_one_paragraph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curate"]) == 1
    assert "source and an out folder" in capsys.readouterr().err
    table = str(write_table(tmp_path, 1))
    words = [
        "curate",
        "--source",
        "bimcvr.curation.CsvTable",
        "--source.table",
        table,
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*words, "--shard", "3/2"]) == 1
    assert "i/n" in capsys.readouterr().err
    assert main(words) == 0
    assert REPORTS[0] in rows_of(tmp_path / "o").loc["s0", "report"]


def test_a_source_that_deletes_needs_a_cache(archive: Callable[[str, str], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing would be left"):
        curate(BimcvR(str(archive("bimcv_r", "shards")), keep="nothing"), tmp_path / "out", jobs=1)


def test_a_table_may_bring_its_own_split(tmp_path: Path) -> None:
    table = write_table(tmp_path, 3)
    pd.read_csv(table).assign(split=["test", "dev", "train"], age=["61", "", "70"]).to_csv(table, index=False)
    curate(
        CsvTable(str(table)), tmp_path / "out", assign_splits=SplitStep("column"), columns={"source": "phantom"}, jobs=1
    )
    rows = rows_of(tmp_path / "out")
    assert list(rows["split"]) == ["test", "", "train"]
    assert list(rows["age"]) == ["61", "", "70"]
    assert set(rows["source"]) == {"phantom"}


def test_a_full_disk_is_said_in_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bimcvr.data.cache.volume_cache.VolumeCache.put", full)
    with pytest.raises(UserError, match="is full"):
        curate(CsvTable(str(write_table(tmp_path, 1))), tmp_path / "out", size=(6, 8, 8), jobs=1)
