"""DICOM series that medseg writes, and series among others."""

from __future__ import annotations

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
from medseg.images import Geometry, find_images, read_image, write_dicom_series


@pytest.fixture(scope="session")
def dicom_qa(data_dir: Path) -> Path:
    return data_dir / "dicom_qa"


def test_two_series_in_one_folder_are_told_apart_without_naming_the_patient(dicom_qa: Path, tmp_path: Path) -> None:
    for number, case in enumerate(("hippocampus_crop_study1", "oblique_double")):
        for file in (dicom_qa / case / "dicom").iterdir():
            shutil.copy(file, tmp_path / f"{number}{file.name}")
    with pytest.raises(ImageError, match=r"holds 2 series: 1 = MR 64 x 64 x 4; 2 = MR 35 x 51 x 32") as caught:
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


def test_series_is_found_as_a_folder_and_among_folders(series: Path) -> None:
    assert [(found.name, found.path) for found in find_images(series)] == [("series", str(series))]
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
