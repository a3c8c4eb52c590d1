"""CT-RATE, DICOM folders and one's own table."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from bimcvr.curation.sources.csv_table import CsvTable
from bimcvr.curation.sources.ct_rate import CtRate
from bimcvr.curation.sources.dicom_folder import DicomFolder
from bimcvr.curation.study import SetAside, SourceStudy
from bimcvr.data.reading.volume import read_volume
from bimcvr.errors import UserError

Writer = Callable[[Path], Path]


def split(found: list[SourceStudy | SetAside]) -> tuple[list[SourceStudy], dict[str, str]]:
    aside = {item.name: item.reason for item in found if isinstance(item, SetAside)}
    return [item for item in found if isinstance(item, SourceStudy)], aside


@pytest.fixture
def ct_rate(tmp_path: Path, volume: Writer) -> Path:
    for name in (
        "train/train_1/train_1_a/train_1_a_1",
        "train/train_1/train_1_a/train_1_a_2",
        "valid/valid_7/valid_7_b/valid_7_b_1",
        "valid/valid_8/valid_8_a/valid_8_a_1",
    ):
        volume(tmp_path / f"dataset/{name}.nii.gz")
    tables = {
        "radiology_text_reports/train_reports.csv": (
            "VolumeName,ClinicalInformation_EN,Technique_EN,Findings_EN,Impressions_EN\ntrain_1_a_1.nii.gz,Fever of Mr"
            " X,CT,Lungs are clear.,No acute abnormality.\ntrain_1_a_2.nii.gz,,CT,Lungs are clear.,Not given.\n"
        ),
        "radiology_text_reports/validation_reports.csv": (
            "VolumeName,ClinicalInformation_EN,Technique_EN,Findings_EN,Impressions_EN\n"
            "valid_7_b_1.nii.gz,Not given.,CT,Not given.,Nodule.\nvalid_9_a_1.nii.gz,,,Gone.,\n"
        ),
        "multi_abnormality_labels/train_predicted_labels.csv": (
            "VolumeName,Medical material,Lung nodule,Atelectasis\ntrain_1_a_1.nii.gz,0,1,1\ntrain_1_a_2.nii.gz,0,0,0\n"
        ),
        "metadata/train_metadata.csv": (
            "VolumeName,Manufacturer,SeriesDescription,ManufacturerModelName,PatientSex,PatientAge,"
            "ConvolutionKernel,XYSpacing,RescaleIntercept,RescaleSlope,ZSpacing,StudyDate\n"
            'train_1_a_1.nii.gz,Philips,HRCT of Mr X,iCT 256,M,036Y,YA,"[0.7, 0.7]",-1024,1,2.5,20210427\n'
            'train_1_a_2.nii.gz,Philips,HRCT,iCT 256,M,036Y,YB,"[0.35, 0.35]",-1024,1,1.5,20210427\n'
        ),
    }
    for name, text in tables.items():
        (tmp_path / "dataset" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dataset" / name).write_text(text)
    return tmp_path / "dataset"


def test_ct_rate(ct_rate: Path) -> None:
    studies, aside = split(list(CtRate(str(ct_rate)).studies()))
    first, second, third = studies
    assert (first.study_id, first.patient_id, first.report_id, first.language) == (
        "train_1_a_1",
        "train_1",
        "train_1_a",
        "en",
    )
    assert first.report == "Lungs are clear.\nNo acute abnormality."
    assert first.labels == ("lung nodule", "atelectasis")
    assert first.columns == {
        "manufacturer": "Philips",
        "model": "iCT 256",
        "kernel": "YA",
        "rescale_slope": "1",
        "rescale_intercept": "-1024",
        "sex": "M",
        "age": "36",
        "stated_spacing": "0.7/0.7/2.5",
        "header_spacing": "agrees",
        "archive_split": "train",
    }
    assert (second.report, second.report_id, second.columns["header_spacing"]) == (
        "Lungs are clear.",
        "train_1_a",
        "differs",
    )
    assert (third.report, third.columns, third.labels) == ("Nodule.", {"archive_split": "val"}, ())
    assert aside == {
        "no_chest_train.txt": "missing_list",
        "no_chest_valid.txt": "missing_list",
        "valid_8_a_1.nii.gz": "no_row",
        "valid_9_a_1.nii.gz": "missing_file",
    }
    assert "Mr X" not in repr(studies)


def test_of_two_versions_the_second_is_taken(ct_rate: Path, volume: Writer) -> None:
    volume(ct_rate / "train_fixed/train_1/train_1_a/train_1_a_1.nii.gz")
    volume(ct_rate / "elsewhere/train_1_a_2.nii.gz")
    source = CtRate(str(ct_rate))
    studies, aside = split(list(source.studies()))
    assert [study.volume.parts[-4] for study in studies if study.study_id == "train_1_a_1"] == ["train_fixed"]
    assert source.passed_over == {"superseded": 1}
    assert aside["train/train_1/train_1_a/train_1_a_2.nii.gz"] == "ambiguous_name"


def test_ct_rate_without_reports_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Findings_EN"):
        list(CtRate(str(tmp_path)).studies())


def dicom_slice(path: Path, series: int, height: float, **tags: object) -> Path:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SeriesInstanceUID, header.SeriesNumber, header.StudyInstanceUID = f"1.2.{series}", series, "1.2"
    header.Modality, header.ImageType, header.Manufacturer = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "SIEMENS"
    header.PatientName, header.PatientAge = "Soler^Ana", "061Y"
    header.PhotometricInterpretation, header.SamplesPerPixel, header.Rows, header.Columns = "MONOCHROME2", 1, 4, 5
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation, header.PixelSpacing = 15, 1, [0.8, 0.8]
    header.ImageOrientationPatient, header.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, height]
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.PixelData = np.full((4, 5), 1000 + series, dtype=np.int16).tobytes()
    for name, value in tags.items():
        setattr(header, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    root = tmp_path / "studies"
    for place in range(3):
        # two series and a scout in one folder, as disks often have them
        dicom_slice(root / f"a/IM{place}", 2, place)
        dicom_slice(root / f"a/IM{place + 3}", 5, 2 * place)
        dicom_slice(root / f"b/deep/series/{place}.dcm", 4, place)
        dicom_slice(root / f"c/{place}.dcm", 1, place, Modality="MR")
    dicom_slice(root / "a/IM9", 1, 0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    dicom_slice(root / "b/single.dcm", 9, 0)
    (root / "b/broken.dcm").write_bytes(b"no DICOM")
    (root / "b/notes.txt").write_text("notes")
    (root / "empty").mkdir()
    dicom_slice(root / "unlisted/0.dcm", 1, 0)
    (tmp_path / "reports.csv").write_text(
        "folder,report,patient_id,ward\na,Report of a.,p1,3\nb/,Report of b.,p2,\nc,Report of c.,p3,\n"
        "empty,Nothing.,p4,\nnowhere,None.,p5,\n../..,Outside.,p6,\na,Again.,p1,\n"
    )
    return root


def test_dicom_series_are_found_by_their_headers(dicom: Path) -> None:
    studies, aside = split(list(DicomFolder(str(dicom), str(dicom.parent / "reports.csv")).studies()))
    assert [study.study_id for study in studies] == ["a_series-2", "a_series-5", "b_series-4"]
    assert aside == {
        "a: series-1": "localizer",
        "b: broken.dcm": "unreadable",
        "b: series-9": "not_a_volume",
        "c: series-1": "not_ct",
        "c": "no_ct_series",
        "empty": "no_dicom",
        "nowhere": "missing_file",
        "reports.csv: line 7": "outside_root",
        "reports.csv: line 8": "duplicate_row",
        "unlisted": "no_row",
    }
    assert [(study.report, study.patient_id, study.report_id) for study in studies] == [
        ("Report of a.", "p1", "a"),
        ("Report of a.", "p1", "a"),
        ("Report of b.", "p2", "b"),
    ]
    assert studies[0].columns["manufacturer"] == "SIEMENS"
    assert (studies[0].columns["age"], studies[0].columns["ward"]) == ("61", "3")
    assert "Soler" not in repr(studies)
    # each series can be read on its own, and only the untangled ones were copied
    assert [read_volume(study.volume).hu.max() for study in studies] == [-22, -19, -20]
    assert [read_volume(study.volume).spacing[0] for study in studies] == [1, 2, 1]
    assert studies[2].volume == dicom / "b/deep/series"
    again, _ = split(list(DicomFolder(str(dicom), str(dicom.parent / "reports.csv")).studies()))
    assert again == studies


def test_dicom_linked_from_outside_is_set_aside(dicom: Path, tmp_path: Path) -> None:
    outside = dicom_slice(tmp_path / "elsewhere/0.dcm", 7, 0)
    os.symlink(outside, dicom / "c/link.dcm")
    _, aside = split(list(DicomFolder(str(dicom), str(tmp_path / "reports.csv")).studies()))
    assert aside["link.dcm"] == "symlink"


def test_table(tmp_path: Path, volume: Writer) -> None:
    volume(tmp_path / "data/v/one.nii.gz")
    volume(tmp_path / "data/two.nii.gz")
    volume(tmp_path / "outside.nii.gz")
    (tmp_path / "data/t.csv").write_text(
        "study_id,volume,report,labels,site,translation\none,v/one.nii.gz, Informe. ,nodule; mass;,Valencia,Report.\n"
        "two,two.nii.gz,Dos.,,,\ntwo,two.nii.gz,Otra"
        " vez.,,,\nthree,three.nii.gz,Tres.,,,\nfour,../outside.nii.gz,Cuatro.,,,\n"
        ",two.nii.gz,Cinco.,,,\nsix,/etc/passwd,Seis.,,,\n"
    )
    studies, aside = split(list(CsvTable(str(tmp_path / "data/t.csv")).studies()))
    assert [study.study_id for study in studies] == ["one", "two"]
    assert (studies[0].report, studies[0].labels, studies[0].translation) == ("Informe.", ("mass", "nodule"), "Report.")
    assert studies[0].columns == {"site": "Valencia"}
    assert Counter(aside.values()) == {"duplicate_row": 1, "missing_file": 1, "outside_root": 2, "unreadable_row": 1}
    assert len(split(list(CsvTable(str(tmp_path / "data/t.csv"), str(tmp_path)).studies()))[0]) == 0


def test_tables_without_their_columns_are_errors(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("study,volume,report\n1,2,3\n")
    with pytest.raises(UserError, match="no column study_id"):
        list(CsvTable(str(tmp_path / "t.csv")).studies())
    with pytest.raises(UserError, match="no column folder"):
        list(DicomFolder(str(tmp_path), str(tmp_path / "t.csv")).studies())
    with pytest.raises(UserError, match="There is no table"):
        CsvTable(str(tmp_path / "none.csv"))


def test_an_empty_table_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    _, aside = split(list(CsvTable(str(tmp_path / "t.csv")).studies()))
    assert aside == {"t.csv": "unreadable_table"}


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("BIMCVR_REAL_DATA")
    if not folder:
        pytest.skip("BIMCVR_REAL_DATA does not name the folder of real volumes")
    return Path(folder)


def test_real_dicom_folders_are_read(real_data: Path, tmp_path: Path) -> None:
    """Two chest series, a scout with other series in one tree, slices in one place.

    Slices with empty series UIDs.
    """
    folders = [
        "lidc_idri_small/LIDC-IDRI-0001",
        "lidc_idri_small/LIDC-IDRI-0003",
        "cip_chest/ct-64Dicom",
        "pydicom_small/dicomdirtests",
        "totalsegmentator/example_ct_dicom_scrubbed",
    ]
    (tmp_path / "t.csv").write_text("folder,report\n" + "".join(f"{folder},r\n" for folder in folders))
    studies, aside = split(list(DicomFolder(str(real_data), str(tmp_path / "t.csv"), str(tmp_path / "work")).studies()))
    for name in ("lidc_idri_small_LIDC-IDRI-0001", "lidc_idri_small_LIDC-IDRI-0003", "cip_chest_ct-64Dicom"):
        study = next(study for study in studies if study.study_id == name)
        assert min(read_volume(study.volume).hu.shape) > 10
    assert aside["pydicom_small/dicomdirtests: series-4"] == "localizer"
    assert next(study for study in studies if "0003" in study.study_id).columns["kernel"] == "STANDARD"
