"""Which files are taken for DICOM, which series are chosen, and what a damaged file ends in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from medseg.errors import ImageError
from medseg.images.dicom import dicom_files, is_dicom, list_series, read_dicom, read_dicom_geometry

Series = Callable[..., Path]


@pytest.mark.parametrize("content", [b"", b"no image", b"\x08\0\x05\0not DICOM", b"x" * 400, b"x" * 127 + b"DICM"])
def test_other_files_are_no_dicom(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "text.dcm"
    file.write_bytes(content)
    assert not is_dicom(file) and not is_dicom(tmp_path) and not is_dicom(tmp_path / "absent")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_bare_data_set_is_dicom(series: Series, syntax: str) -> None:
    folder = series()
    before = read_dicom(folder)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = dataset.pixel_array.astype(">i2").tobytes()
        bare = pydicom.Dataset(dataset)
        pydicom.dcmwrite(
            file,
            bare,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            force_encoding=True,
        )
        assert file.read_bytes()[128:132] != b"DICM" and is_dicom(file)
    np.testing.assert_array_equal(read_dicom(folder).array, before.array)


def test_folder_is_searched_in_its_subfolders_without_foreign_and_hidden_files(series: Series) -> None:
    folder = series()
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "004.dcm").rename(folder / "deep" / "er" / "004")
    (folder / "readme.txt").write_text("no image")
    (folder / ".hidden").mkdir()
    shutil.copy(folder / "001.dcm", folder / ".hidden" / "001.dcm")
    shutil.copy(folder / "001.dcm", folder / "._001.dcm")
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "broken").symlink_to(folder / "broken")
    assert [file.name for file in dicom_files(folder)] == ["001.dcm", "002.dcm", "003.dcm", "004"]
    assert read_dicom(folder).warnings == ()


def test_failed_copies_are_told(series: Series) -> None:
    folder = series()
    (folder / "005.dcm").write_bytes(b"")
    assert any("1 files named .dcm are no DICOM files (first 005.dcm)" in each for each in read_dicom(folder).warnings)


def test_dicomdir_stands_for_its_files(series: Series) -> None:
    folder = series()
    (folder / "images").mkdir()
    for number in (1, 2, 3):
        (folder / f"00{number}.dcm").rename(folder / "images" / f"i{number}")
    directory = pydicom.dcmread(folder / "004.dcm", stop_before_pixels=True)
    directory.SOPClassUID = directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.DirectoryRecordSequence = [pydicom.Dataset() for _ in range(3)]
    for record, names in zip(
        directory.DirectoryRecordSequence, (["IMAGES", "I1"], ["IMAGES", "I2"], None), strict=True
    ):
        record.DirectoryRecordType = "IMAGE" if names else "PATIENT"
        if names:
            record.ReferencedFileID = names
    directory.save_as(folder / "DICOMDIR")
    assert read_dicom(folder / "DICOMDIR").array.shape == (4, 3, 2)
    assert read_dicom(folder).array.shape == (4, 3, 4)
    (folder / "images" / "i2").unlink()
    with pytest.raises(ImageError, match=r"DICOMDIR: refers to IMAGES/I2, which is not there"):
        read_dicom(folder / "DICOMDIR")


@pytest.fixture
def two(series: Series) -> Path:
    """Two series in one folder: number 4 'Arterial phase' and number 7 'Arterial late'."""
    folder = series(name(7, "Arterial late"), seed="b")
    other = series(name(4, "Arterial\x07 phase"), folder="other", count=3)
    for file in other.iterdir():
        file.rename(folder / f"other{file.name}")
    return folder


def name(number: int, description: str) -> Callable[[pydicom.Dataset, int], None]:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.SeriesNumber, dataset.SeriesDescription, dataset.PatientName = number, description, "Doe^Jane"

    return edit


def test_several_series_are_listed_in_order_and_one_must_be_named(two: Path) -> None:
    first, second = list_series(two)
    assert (first.number, first.description, first.modality, first.size) == (1, "Arterial  phase", "CT", (4, 3, 3))
    assert (second.number, second.kind, second.spacing, len(second.files)) == (2, "image", (2, 3, 5), 4)
    with pytest.raises(ImageError, match=r"holds 2 series: 1 = CT 4 x 3 x 3; 2 = .*::NUMBER") as caught:
        read_dicom(two)
    assert "Doe" not in str(caught.value) and "Arterial" not in str(caught.value)


@pytest.mark.parametrize("by", ["number", "uid", "description", "part"])
def test_series_is_named_by_number_uid_or_description(two: Path, by: str) -> None:
    info = list_series(two)[1]
    named = {"number": "2", "uid": info.uid, "description": "Arterial late", "part": "LATE"}[by]
    assert read_dicom(two, series=named).array.shape == (4, 3, 4)
    assert read_dicom_geometry(two, series=named).shape == (4, 3, 4)


@pytest.mark.parametrize(
    ("named", "reason"), [("arterial", "names 2 of its series"), ("5", "no series '5'"), ("", "no")]
)
def test_series_that_is_none_or_two_is_refused(two: Path, named: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_dicom(two, series=named)


def test_localizer_beside_an_image_does_not_hinder(series: Series) -> None:
    folder = series()
    shutil.copytree(
        series(
            lambda d, k: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), folder="b", seed="b", count=1
        ),
        folder / "scout",
    )
    assert [info.kind for info in list_series(folder)].count("localizer") == 1
    image = read_dicom(folder)
    assert image.array.shape == (4, 3, 4)
    assert any("not read, beside it" in warning and "localizer" in warning for warning in image.warnings)
    assert "'" not in "".join(image.warnings), "a description may tell of a patient, and warnings are kept"


def test_localizer_alone_is_read(series: Series) -> None:
    folder = series(lambda d, k: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    assert read_dicom(folder).array.shape == (4, 3, 4)


def test_folder_without_dicom_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no DICOM files"):
        read_dicom(tmp_path)
    assert list_series(tmp_path) == []


@pytest.mark.parametrize("cut", [200, 500, 900, -10])
def test_truncated_file_is_named(series: Series, cut: int) -> None:
    folder = series()
    file = folder / "004.dcm"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ImageError, match=r"004\.dcm: .*(damaged|cut short)"):
        read_dicom(folder)


def test_no_damaged_byte_gives_a_traceback_or_another_shape(series: Series, tmp_path: Path) -> None:
    file, rng = series(count=1) / "001.dcm", np.random.default_rng(0)
    whole = file.read_bytes()
    broken = tmp_path / "broken.dcm"
    outcomes = set()
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(132, len(content) - 24, rng.integers(1, 8)):
            content[place] = rng.integers(256)
        broken.write_bytes(bytes(content[: rng.integers(200, len(content) + 1)] if rng.random() < 0.2 else content))
        try:
            image = read_dicom(broken)
        except ImageError as error:
            assert str(broken) in str(error) and "\n" not in str(error)
            outcomes.add("error")
        else:
            assert image.array.size == 12 and np.isfinite(image.geometry.affine).all()
            outcomes.add("image")
    assert outcomes == {"error", "image"}


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PixelSpacing", "DS", b"one\\two "),
        ("RescaleSlope", "DS", b"1e999 "),
        ("RescaleIntercept", "DS", b"nan "),
        ("ImagePositionPatient", "DS", b"1\\2 "),
        ("NumberOfFrames", "IS", b"several "),
    ],
)
def test_value_that_is_none_is_named_by_its_keyword(series: Series, keyword: str, vr: str, value: bytes) -> None:
    file = series(count=1) / "001.dcm"
    dataset, tag = pydicom.dcmread(file), pydicom.tag.Tag(keyword)
    dataset[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True, True)
    pydicom.dcmwrite(file, dataset)
    with pytest.raises(ImageError, match=rf"001\.dcm: its {keyword} is no value"):
        read_dicom(file)
