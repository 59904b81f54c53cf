"""DICOM SEG written for sources and names as they come: other alphabets, damaged values, odd labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medseg.errors import ImageError
from medseg.images import read_geometry, read_label, write_dicom_seg
from medseg.images.dicom import listing, seg_write
from medseg.images.dicom.headers import read_header
from medseg.types import CodedTerm, LabelClass

MADE_BY = {"algorithm_name": "test", "algorithm_version": "1"}
ONE = [LabelClass(1, "one")]


def labels_of(series: Path) -> np.ndarray:
    labels = np.zeros(read_geometry(series).shape, np.uint8)
    labels[1:3, :2, 1:] = 1
    return labels


def written(series: Path, path: Path, classes: list[LabelClass], **made_by: str) -> pydicom.Dataset:
    write_dicom_seg(path, labels_of(series), source=series, classes=classes, **(MADE_BY | made_by))
    np.testing.assert_array_equal(read_label(path, grid=read_geometry(series)).array, labels_of(series))
    return pydicom.dcmread(path)


def test_headers_of_the_source_are_read_once(
    series: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A series is hundreds of files, often on a slow disk."""
    source, read = series(), []
    labels = labels_of(source)
    monkeypatch.setattr(listing, "read_header", lambda file: read.append(file) or read_header(file))
    write_dicom_seg(tmp_path / "a.dcm", labels, source=source, classes=ONE, **MADE_BY)
    assert sorted(read) == sorted(source.iterdir())
    with pytest.raises(ValueError, match="labels have shape"):
        write_dicom_seg(tmp_path / "a.dcm", labels[1:], source=source, classes=ONE, **MADE_BY)


def test_names_of_any_alphabet_are_kept(series: Callable[..., Path], tmp_path: Path) -> None:
    """Of the patient in the scan's character set, of the segments in any."""

    def japanese(dataset: pydicom.Dataset, k: int) -> None:
        dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        dataset.PatientName = "Yamada^Tarou=山田^太郎"

    term = CodedTerm("5366008", "SCT", "海马体")
    seg = written(series(japanese), tmp_path / "a.dcm", [LabelClass(1, "Läsion 海马体", None, term)])
    assert str(seg.PatientName) == "Yamada^Tarou=山田^太郎"
    found = read_label(tmp_path / "a.dcm").classes[0]
    assert (found.name, found.code) == ("Läsion 海马体", term)


@pytest.mark.parametrize("character_set", [None, "ISO_IR 100"])
def test_segment_names_need_no_character_set_of_the_scan(
    series: Callable[..., Path], tmp_path: Path, character_set: str | None
) -> None:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.SpecificCharacterSet = character_set

    seg = written(series(edit), tmp_path / "a.dcm", [LabelClass(1, "печень")])
    assert seg.SegmentSequence[0].SegmentLabel == "печень" and seg.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize(
    ("name", "expected"), [("a\\b", "a b"), ("a\nb", "a b"), ("x" * 80, "x" * 64), ("", "label 1")]
)
def test_names_that_dicom_cannot_hold(series: Callable[..., Path], tmp_path: Path, name: str, expected: str) -> None:
    classes = [LabelClass(1, name, None, CodedTerm("1", "99TEST", name or "meaning"))]
    seg = written(series(), tmp_path / "a.dcm", classes, algorithm_name=name)
    assert seg.SegmentSequence[0].SegmentLabel == expected


def test_long_codes_are_kept(series: Callable[..., Path], tmp_path: Path) -> None:
    term = CodedTerm("12345678901234567890", "SCT", "of more than 16 characters")
    written(series(), tmp_path / "a.dcm", [LabelClass(1, "one", None, term)])
    assert read_label(tmp_path / "a.dcm").classes[0].code == term


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientBirthDate", b"19XX"), ("StudyDate", b"2020-01"), ("StudyTime", b"25:61"), ("PatientSex", b"W "),
     ("PatientAge", b"12 years")],
)  # fmt: skip
def test_damaged_values_of_the_scan_are_left_out(
    series: Callable[..., Path], tmp_path: Path, keyword: str, value: bytes
) -> None:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        tag = pydicom.tag.Tag(keyword)
        kind = pydicom.datadict.dictionary_VR(tag)
        dataset[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(value), value, 0, False, True)

    seg = written(series(edit), tmp_path / "a.dcm", ONE)
    assert not seg.get(keyword) and seg.PatientID == "PHANTOM"


def test_what_highdicom_refuses_is_one_line_that_quotes_nothing(
    series: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("'Doe^Jane' is not valid")

    monkeypatch.setattr(seg_write, "_segmentation", refuse)
    place = series()
    with pytest.raises(ImageError) as caught:
        write_dicom_seg(tmp_path / "a.dcm", labels_of(place), source=place, classes=ONE, **MADE_BY)
    assert str(caught.value) == f"{place}: no DICOM SEG can be made of its headers (ValueError); write NIfTI"
    assert caught.value.__suppress_context__
    assert not list(tmp_path.glob("*.dcm")) and not list(tmp_path.glob(".part*"))


def test_a_mask_of_bool_is_a_label_map(series: Callable[..., Path], tmp_path: Path) -> None:
    place = series()
    seg_write.write_seg(tmp_path / "a.dcm", labels_of(place) > 0, source=place, classes=ONE, **MADE_BY)
    np.testing.assert_array_equal(read_label(tmp_path / "a.dcm", grid=read_geometry(place)).array, labels_of(place))


@pytest.mark.parametrize(
    ("classes", "message"),
    [([], "expected one or more"), ([0, 1], "each above 0"), ([1, 1], "and once"), ([2], r"without a class: \[1\]")],
)
def test_classes_that_say_not_what_each_value_is(
    series: Callable[..., Path], tmp_path: Path, classes: list[int], message: str
) -> None:
    place = series()
    given = [LabelClass(value, "name") for value in classes]
    with pytest.raises(ValueError, match=message):
        write_dicom_seg(tmp_path / "a.dcm", labels_of(place), source=place, classes=given, **MADE_BY)
    with pytest.raises(ValueError, match="expected integers"):
        seg_write.write_seg(tmp_path / "a.dcm", labels_of(place) / 2, source=place, classes=ONE, **MADE_BY)
    assert not list(tmp_path.glob("*.dcm"))
