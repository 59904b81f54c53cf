"""DICOM series come out right, or are refused by the name of what is wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medseg.errors import ImageError
from medseg.images import Geometry, find_images, read_geometry, read_image, write_dicom_series

REGULAR = [
    "brain_flair_oblique",
    "hippocampus_crop_study1",
    "hippocampus_crop_study2",
    "nonsquare_rescaled",
    "oblique_double",
    "rtstruct_phantom",
    "seg_liver_ct",
    "two_slices",
    "vol_explicit_le",
    "vol_implicit_le",
    "vol_jpeg2000",
    "vol_jpeg_lossless",
    "vol_jpegls",
    "vol_rle",
]
REFUSED = {
    "enhanced_hyperfine": "multi-frame",
    "enhanced_philips": "multi-frame",
    "gantry_tilt_ct": r"gantry tilt, slices are stacked 18\.5 degrees",
    "missing_slice_ct": "a slice is missing",
    "mosaic_transfer_syntaxes": "occur more than once",
    "rgb_secondary_capture": "colour",
    "same_position_ct": "occur more than once",
    "seg_small_ct": "uneven slice distances",
    "single_slice": "single slice without thickness",
    "time_series_4d": "several time points",
    "two_orientations": "different orientation",
}


@pytest.fixture(scope="session")
def dicom_qa(data_dir: Path) -> Path:
    return data_dir / "dicom_qa"


@pytest.mark.parametrize("case", REGULAR)
def test_regular_series_has_the_right_value_at_the_right_place(dicom_qa: Path, case: str) -> None:
    expected = json.loads((dicom_qa / "expected.json").read_text())[case]
    image = read_image(dicom_qa / case / "dicom")
    assert expected["probes"]
    for probe in expected["probes"]:
        index = np.linalg.inv(image.geometry.affine) @ [*probe["ras_mm"], 1]
        assert np.abs(index - index.round()).max() < 0.01, "a probe must lie on a voxel's centre"
        found = float(image.array[tuple(index[:3].round().astype(int))])
        assert found == pytest.approx(probe["value"], rel=1e-5)


@pytest.mark.parametrize("case", ["hippocampus_crop_study1", "hippocampus_crop_study2"])
def test_hippocampus_series_equal_another_converter_in_the_world(dicom_qa: Path, case: str) -> None:
    mine, theirs = read_image(dicom_qa / case / "dicom"), read_image(dicom_qa / case / "ref" / "volume.nii.gz")
    to_theirs = np.linalg.inv(theirs.geometry.affine) @ mine.geometry.affine
    indices = np.stack([axis.ravel() for axis in np.indices(mine.geometry.shape)] + [np.ones(mine.array.size)])
    there = (to_theirs @ indices)[:3]
    assert np.abs(there - there.round()).max() < 0.01
    values = theirs.array[tuple(there.round().astype(int))]
    np.testing.assert_array_equal(values.reshape(mine.array.shape), mine.array)
    assert mine.modality == "MR"


@pytest.mark.parametrize("case", ["vol_jpeg_lossless", "vol_jpegls", "vol_rle"])
def test_every_lossless_encoding_holds_the_same_voxels(dicom_qa: Path, case: str) -> None:
    np.testing.assert_array_equal(
        read_image(dicom_qa / case / "dicom").array, read_image(dicom_qa / "vol_jpeg2000" / "dicom").array
    )


@pytest.mark.parametrize(("case", "reason"), REFUSED.items())
def test_irregular_series_is_refused_by_name(dicom_qa: Path, case: str, reason: str) -> None:
    with pytest.raises(ImageError, match=f"{case}.*{reason}"):
        read_image(dicom_qa / case / "dicom")


def test_two_series_in_one_folder_are_told_apart_without_naming_the_patient(dicom_qa: Path, tmp_path: Path) -> None:
    for number, case in enumerate(("hippocampus_crop_study1", "oblique_double")):
        for file in (dicom_qa / case / "dicom").iterdir():
            shutil.copy(file, tmp_path / f"{number}{file.name}")
    with pytest.raises(
        ImageError, match=r"holds 2 series \(MR of 32 images 35 x 51, series .*; MR of 4 images"
    ) as caught:
        read_image(tmp_path)
    patient = str(pydicom.dcmread(next(tmp_path.iterdir())).PatientName)
    assert patient and patient not in str(caught.value)


@settings(max_examples=15, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 6)] * 3),
    flip=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_series_comes_back_however_it_lies_and_its_files_are_named(
    tmp_path_factory: pytest.TempPathFactory, angles: Any, spacing: Any, flip: bool, seed: int
) -> None:
    folder, rng = tmp_path_factory.mktemp("series"), np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing * [1, 1, -1 if flip else 1]
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    geometry, voxels = Geometry((5, 4, 6), affine), rng.integers(-1000, 3000, (5, 4, 6)).astype(np.int16)
    write_dicom_series(folder, voxels, geometry, modality="CT")
    _shuffle(folder, rng)
    image = read_image(folder)
    # Slices come back along their normal, so k may run the other way: the value at a place is what counts.
    index = np.linalg.inv(image.geometry.affine) @ geometry.affine @ [3, 1, 4, 1]
    np.testing.assert_allclose(index, index.round(), atol=1e-3)
    assert image.array[tuple(index[:3].round().astype(int))] == voxels[3, 1, 4]
    assert sorted(image.array.ravel()) == sorted(voxels.ravel())
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    theirs = sitk.ReadImage(names)
    left, posterior, superior = (geometry.affine @ [3, 1, 4, 1])[:3] * [-1, -1, 1]
    assert theirs[theirs.TransformPhysicalPointToIndex((left, posterior, superior))] == voxels[3, 1, 4]


def _shuffle(folder: Path, rng: np.random.Generator) -> None:
    """Neither the files' names nor InstanceNumber tell the order any more."""
    files = sorted(folder.iterdir())
    for number, (file, name) in enumerate(zip(files, rng.permutation(len(files)), strict=True)):
        dataset = pydicom.dcmread(file)
        dataset.InstanceNumber = int(rng.integers(100))
        dataset.save_as(folder / f"s{name}_{number}.dcm")
        file.unlink()


@pytest.fixture
def series(tmp_path: Path) -> Path:
    folder = tmp_path / "series"
    write_dicom_series(folder, np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), np.eye(4)), modality="MR")
    return folder


def test_foreign_files_beside_the_images_are_ignored(series: Path) -> None:
    (series / "readme.txt").write_text("no image")
    (series / ".DS_Store").write_bytes(b"x")
    (series / "empty.dcm").write_bytes(b"")
    assert read_geometry(series).shape == (3, 4, 5)


def test_truncated_slice_is_named(series: Path) -> None:
    file = series / "003.dcm"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ImageError, match=r"003\.dcm: its pixels are truncated or damaged"):
        read_image(series)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slice_without_a_place_is_refused(series: Path, keyword: str) -> None:
    dataset = pydicom.dcmread(series / "002.dcm")
    delattr(dataset, keyword)
    dataset.save_as(series / "002.dcm")
    with pytest.raises(ImageError, match=f"a slice has no {keyword}"):
        read_image(series)


def test_series_is_found_as_a_folder_and_among_folders(series: Path) -> None:
    assert [(found.name, found.path) for found in find_images(series)] == [("series", series)]
    assert [found.name for found in find_images(series.parent)] == ["series"]


def test_same_series_is_written_byte_for_byte_the_same(series: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_dicom_series(again, np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), np.eye(4)), modality="MR")
    assert [file.read_bytes() for file in sorted(again.iterdir())] == [
        file.read_bytes() for file in sorted(series.iterdir())
    ]


def test_sheared_grid_is_no_series(tmp_path: Path) -> None:
    sheared = np.eye(4)
    sheared[0, 2] = 0.3
    with pytest.raises(ValueError, match="sheared"):
        write_dicom_series(tmp_path, np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), sheared), modality="CT")
