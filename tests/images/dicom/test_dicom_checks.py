"""Series that are no regular volume are recognised by what is wrong with them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from medseg.errors import ImageError
from medseg.images.dicom import list_series, read_dicom, read_dicom_geometry

Series = Callable[..., Path]


def drop(*numbers: int) -> Callable[[pydicom.Dataset, int], None]:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        if k in numbers:
            dataset.SOPInstanceUID = None

    return edit


def at(*heights: float) -> Callable[[pydicom.Dataset, int], None]:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.ImagePositionPatient = [0, 0, heights[k]]

    return edit


def put(**values: Any) -> Callable[[pydicom.Dataset, int], None]:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value(k) if callable(value) else value)

    return edit


def only(number: int, edit: Callable[[pydicom.Dataset, int], None]) -> Callable[[pydicom.Dataset, int], None]:
    return lambda dataset, k: edit(dataset, k) if k == number else None


def refused(folder: Path, reason: str) -> None:
    for read in (read_dicom, read_dicom_geometry):
        with pytest.raises(ImageError, match=reason) as caught:
            read(folder)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_regular_series_is_read_whatever_its_files_are_called_and_numbered(series: Series) -> None:
    folder = series(put(InstanceNumber=lambda k: [7, 3, 3, 1][k]))
    for old, new in (("001", "z"), ("002", "b"), ("003", "y"), ("004", "a")):
        (folder / f"{old}.dcm").rename(folder / new)
    image = read_dicom(folder)
    assert image.array[:, :, 2].ravel(order="C").tolist() == list(range(200, 212))
    assert [file.name for file in image.files] == ["z", "b", "y", "a"]
    assert (image.format, image.modality, image.spatial_dims, image.warnings) == ("DICOM", "CT", 3, ())
    np.testing.assert_allclose(image.geometry.affine, np.diag([2.0, 3, 5, 1]), atol=1e-9)


@pytest.mark.parametrize(
    ("edit", "count", "reason"),
    [
        (drop(2), 6, r"a slice is missing: the slices lie 5\.000 mm apart, and 10\.000 mm after slice 2 of 5 \(002"),
        (drop(2, 4), 7, r"2 slices are missing"),
        (drop(2, 3), 7, r"2 slices are missing: .*15\.000 mm after slice 2 of 5"),
        (at(0, 5, 5.4, 10, 15), 5, r"its slices overlap: 0\.400 mm apart after slice 2 of 5"),
        (at(0, 5, 11, 15, 20), 5, r"uneven slice distances from 4\.000 to 6\.000 mm"),
        (at(*np.cumsum([0, *[5] * 20, *[5.2] * 20])), 41, r"drift from 5\.000 to 5\.200 mm"),
        (put(ImagePositionPatient=lambda k: [0.5 * (k % 2), 0, 5 * k]), 4, "shifted sideways"),
        (put(ImagePositionPatient=[0, 0, 5]), 2, "more than once"),
        (put(PixelSpacing=[0, 1]), 4, "PixelSpacing is 0 x 1 mm"),
        (put(PixelSpacing=[-1, 1]), 4, "PixelSpacing is -1 x 1 mm"),
        (put(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), 4, "no pair of unit vectors"),
        (put(ImageOrientationPatient=[2, 0, 0, 0, 2, 0]), 4, "no pair of unit vectors"),
        (put(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]), 4, "no pair of unit vectors"),
        (put(ImageOrientationPatient=[1, 0, 0, 0, 1]), 4, "its ImageOrientationPatient is no value"),
        (put(RescaleSlope=0), 4, "RescaleSlope is 0"),
        (put(Rows=0), 4, "without Rows"),
        (put(BitsStored=17), 4, "contradict each other"),
        (put(HighBit=3), 4, "contradict each other"),
    ],
)
def test_irregular_series_is_refused_by_what_is_wrong(series: Series, edit: Any, count: int, reason: str) -> None:
    refused(series(edit, count=count), reason)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slice_without_a_place_is_named(series: Series, keyword: str) -> None:
    refused(series(only(1, lambda dataset, k: delattr(dataset, keyword))), rf"002\.dcm: a slice has no {keyword}")


def test_series_without_positions_is_refused(series: Series) -> None:
    refused(
        series(lambda dataset, k: delattr(dataset, "ImagePositionPatient")), "4 images without ImagePositionPatient"
    )


def test_positions_of_few_decimals_are_regular(series: Series) -> None:
    folder = series(put(ImagePositionPatient=lambda k: [0, 0, round(k * 1.953125, 2)]), count=40)
    assert read_dicom_geometry(folder).spacing[2] == pytest.approx(1.953125, rel=1e-3)


def test_steps_of_micrometres_are_checked_too(series: Series) -> None:
    def micro(dataset: pydicom.Dataset, k: int) -> None:
        dataset.PixelSpacing, dataset.ImagePositionPatient = [0.01, 0.01], [0, 0, 0.01 * k]

    assert read_dicom_geometry(series(micro)).spacing == pytest.approx((0.01, 0.01, 0.01))
    refused(series(lambda d, k: (micro(d, k), drop(2)(d, k)), count=6, folder="b"), "a slice is missing")


def test_tilt_is_carried_in_the_affine(series: Series) -> None:
    image = read_dicom(series(put(ImagePositionPatient=lambda k: [0, -1.0 * k, 5.0 * k])))
    np.testing.assert_allclose(image.geometry.affine[:3, 2], [0, 1, 5], atol=1e-9)
    assert any("gantry tilt" in warning and "11.3 degrees" in warning for warning in image.warnings)


def test_distance_that_the_file_contradicts_is_told(series: Series) -> None:
    image = read_dicom(series(put(SpacingBetweenSlices=2.5)))
    assert any("every other one may be missing" in warning for warning in image.warnings)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", [10, 20]),
        ("TemporalPositionIdentifier", [1, 2]),
        ("AcquisitionNumber", [3, 9]),
        ("ImageType", [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]),
        ("TriggerTime", [0, 400]),
        ("DiffusionBValue", [0.0, 1000.0]),
        ("ConvolutionKernel", ["B30f", "B70f"]),
    ],
)
def test_volumes_at_the_same_places_are_split_by_the_tag_that_tells_them_apart(
    series: Series, keyword: str, values: list[Any]
) -> None:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.ImagePositionPatient = [0, 0, 5 * (k // 2)]
        setattr(dataset, keyword, values[k % 2])

    folder = series(edit, count=8)
    with pytest.raises(ImageError, match=rf"holds 2 series: 1 = CT 4 x 3 x 4 .*{keyword[:6]}|b-value"):
        read_dicom(folder)
    for number, info in enumerate(list_series(folder)):
        image = read_dicom(folder, series=str(info.number))
        assert image.array[0, 0].tolist() == [number * 100 + 200 * k for k in range(4)]


def test_two_tags_may_be_needed(series: Series) -> None:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.ImagePositionPatient = [0, 0, 5 * (k // 4)]
        dataset.EchoTime = [10, 10, 20, 20][k % 4]
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "MP"[k % 2]]

    folder = series(edit, count=12)
    assert [info.size for info in list_series(folder)] == [(4, 3, 3)] * 4


def test_tag_that_changes_from_slice_to_slice_splits_nothing(series: Series) -> None:
    assert (
        read_dicom(series(put(AcquisitionNumber=lambda k: k, AcquisitionTime=lambda k: f"1200{k:02d}"))).warnings == ()
    )


@pytest.mark.parametrize(
    ("edit", "note"),
    [
        (put(ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=lambda k: [k, 0, 0]), "sagittal"),
        (put(PixelSpacing=[1.5, 1.5]), "spacing 1.5 x 1.5"),
        (put(Rows=1, Columns=12), "12 x 1"),
        (put(SeriesNumber=8), "SeriesNumber 8"),
        (put(FrameOfReferenceUID="1.2.3"), "frame of reference 2"),
        (put(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
    ],
)
def test_what_cannot_be_one_volume_is_split(series: Series, edit: Any, note: str) -> None:
    folder = series(lambda dataset, k: edit(dataset, k) if k >= 3 else None, count=6)
    infos = list_series(folder)
    assert len(infos) == 2 and [len(info.files) for info in infos] == [3, 3]
    assert note in infos[1].description
    assert read_dicom(folder, series="1").array.shape == (4, 3, 3)


def test_time_points_without_any_tag_are_split_by_instance_number(series: Series) -> None:
    folder = series(put(ImagePositionPatient=lambda k: [0, 0, 5 * (k % 3)], InstanceNumber=lambda k: k + 1), count=6)
    assert [info.description for info in list_series(folder)] == ["(InstanceNumber 1-3)", "(InstanceNumber 4-6)"]
    assert read_dicom(folder, series="2").array[0, 0].tolist() == [300, 400, 500]


def test_tag_that_tells_every_image_apart_tells_no_volumes_apart(series: Series) -> None:
    edit = put(ImagePositionPatient=lambda k: [0, 0, 5 * (k % 3)], AcquisitionNumber=lambda k: k)
    assert [info.size for info in list_series(series(edit, count=6))] == [(4, 3, 3)] * 2


def test_time_points_in_no_order_are_refused(series: Series) -> None:
    folder = series(put(ImagePositionPatient=lambda k: [0, 0, 5 * (k % 3)], InstanceNumber=1), count=6)
    refused(folder, "3 slice positions occur more than once and no tag tells")


def test_copy_of_a_slice_is_read_once(series: Series) -> None:
    folder = series()
    shutil.copy(folder / "002.dcm", folder / "copy.dcm")
    image = read_dicom(folder)
    assert image.array.shape == (4, 3, 4)
    assert any("an image is there twice" in warning for warning in image.warnings)


def test_copy_under_another_uid_is_read_once(series: Series) -> None:
    folder = series()
    dataset = pydicom.dcmread(folder / "002.dcm")
    dataset.SOPInstanceUID, dataset.ContentTime = generate_uid(), "120000"
    dataset.save_as(folder / "again.dcm")
    image = read_dicom(folder)
    assert image.array[0, 0].tolist() == [0, 100, 200, 300]
    assert any("an image is there twice" in warning for warning in image.warnings)


def test_other_image_at_the_place_of_a_slice_is_refused(series: Series) -> None:
    folder = series()
    dataset = pydicom.dcmread(folder / "002.dcm")
    dataset.SOPInstanceUID, dataset.PixelData = generate_uid(), bytes(24)
    dataset.save_as(folder / "other.dcm")
    refused(folder, "1 slice positions occur more than once")


def test_other_image_under_the_same_uid_is_refused(series: Series) -> None:
    folder = series()
    dataset = pydicom.dcmread(folder / "002.dcm")
    dataset.PixelData = bytes(24)
    dataset.save_as(folder / "other.dcm")
    refused(folder, "has the SOPInstanceUID of .* and is another image")


@pytest.mark.parametrize(
    ("tags", "keyword", "depth"),
    [
        ({"SliceThickness": 4}, "SliceThickness", 4),
        ({"SliceThickness": None, "SpacingBetweenSlices": -3}, "SpacingBetweenSlices", 3),
        ({"SliceThickness": 4, "SpacingBetweenSlices": 3}, "SpacingBetweenSlices", 3),
    ],
)
def test_single_slice_is_as_thick_as_it_says(series: Series, tags: Any, keyword: str, depth: float) -> None:
    folder = series(put(**tags), count=1)
    image = read_dicom(folder)
    assert image.spatial_dims == 3 and image.geometry.spacing[2] == depth
    assert any(keyword in warning for warning in image.warnings)


@pytest.mark.parametrize(
    ("tags", "spacing", "told"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, (0.1, 0.2), "spacing by PixelSpacing"),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]}, (0.1, 0.2), "that of the detector"),
        ({"PixelSpacing": None}, (1, 1), "no spacing, 1 mm taken"),
    ],
)
def test_file_without_a_place_is_a_picture(series: Series, tags: Any, spacing: Any, told: str) -> None:
    folder = series(put(Modality="DX", ImagePositionPatient=None, ImageOrientationPatient=None, **tags), count=1)
    image = read_dicom(folder)
    assert image.spatial_dims == 2 and image.geometry.spacing[:2] == pytest.approx(spacing)
    assert any(told in warning for warning in image.warnings)


def test_rescale_is_applied_per_slice(series: Series) -> None:
    image = read_dicom(series(put(RescaleSlope=lambda k: k + 1, RescaleIntercept=lambda k: -10 * k)))
    assert image.array[1, 0].tolist() == [3, 2 * 103 - 10, 3 * 203 - 20, 4 * 303 - 30]
    assert image.array.dtype == np.int16
    image = read_dicom(series(put(RescaleSlope=lambda k: 0.5 * (k + 1)), folder="b"))
    assert image.array[1, 0].tolist() == [1.5, 103, 304.5, 606] and image.array.dtype == np.float32
