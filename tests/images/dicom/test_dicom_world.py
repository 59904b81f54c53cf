"""A marked voxel is where another reader puts it, however the grid lies."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medseg.images.dicom import read_dicom
from medseg.images.dicom.series_write import write_dicom_series
from medseg.images.geometry import Geometry

AXES = [np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product([1, -1], repeat=3)]


def check_marked_voxel(folder: Path, geometry: Geometry, rng: np.random.Generator) -> None:
    """Write zeros with one voxel of 1000, read it here and with SimpleITK."""
    marked = tuple(int(rng.integers(length)) for length in geometry.shape)
    voxels = np.zeros(geometry.shape, np.int16)
    voxels[marked] = 1000
    write_dicom_series(folder, voxels, geometry, modality="MR")
    for number, file in enumerate(rng.permutation(sorted(folder.iterdir()))):
        file.rename(folder / f"s{number}")
    where = geometry.affine @ [*marked, 1]
    image = read_dicom(folder)
    (found,) = np.argwhere(image.array == 1000)
    np.testing.assert_allclose(image.geometry.affine @ [*found, 1], where, atol=1e-3)
    theirs = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    (k, j, i) = np.argwhere(sitk.GetArrayViewFromImage(theirs) == 1000)[0].tolist()
    left, back, up = theirs.TransformIndexToPhysicalPoint((i, j, k))
    np.testing.assert_allclose([-left, -back, up], where[:3], atol=1e-3)


@settings(max_examples=25)
@given(
    shape=st.tuples(*[st.integers(2, 7)] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    flip=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_oblique_grids(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, angles: Any, spacing: Any, flip: bool, seed: int
) -> None:
    rng, affine = np.random.default_rng(seed), np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing * [1, 1, -1 if flip else 1]
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    check_marked_voxel(tmp_path_factory.mktemp("series"), Geometry(shape, affine), rng)


@pytest.mark.parametrize("axes", AXES, ids=lambda axes: "".join(f"{v:+.0f}" for v in axes.ravel()))
def test_all_48_axis_orders(tmp_path: Path, axes: Any) -> None:
    affine = np.eye(4)
    affine[:3, :3] = axes * [1.5, 2, 4]
    affine[:3, 3] = [10, -20, 30]
    check_marked_voxel(tmp_path / "series", Geometry((3, 4, 5), affine), np.random.default_rng(1))
