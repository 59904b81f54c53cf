"""A voxel stays where it is in the patient, through every writer and reader, ours and others'."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medseg.images.geometry import Geometry
from medseg.images.itk import read_itk, read_itk_geometry, write_itk
from medseg.images.nifti import read_nifti, read_nifti_geometry
from medseg.images.nifti_write import write_nifti

LPS = np.diag([-1.0, -1.0, 1.0])
AXIS_ORDERS = [
    np.diag(signs)[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
NEAR = {"atol": 1e-3, "rtol": 0}


@st.composite
def grids(draw: st.DrawFn) -> Geometry:
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.05, 12)] * 3))
    turns = draw(st.tuples(*[st.one_of(st.just(0.0), st.floats(-180, 180))] * 3))
    axes = Rotation.from_euler("xyz", turns, degrees=True).as_matrix() @ draw(st.sampled_from(AXIS_ORDERS))
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-2000, 2000)] * 3))
    return Geometry(shape, affine)


@st.composite
def marked(draw: st.DrawFn) -> tuple[Geometry, tuple[int, int, int], NDArray[np.uint8]]:
    """A grid, an index in it, and voxels of which that one is marked."""
    grid = draw(grids())
    index = tuple(draw(st.integers(0, length - 1)) for length in grid.shape)
    voxels = np.zeros(grid.shape, np.uint8)
    voxels[index] = 200
    return grid, (index[0], index[1], index[2]), voxels


def place(array: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the brightest voxel is, RAS+ mm."""
    return (affine @ [*np.unravel_index(int(array.argmax()), array.shape), 1])[:3]


def itk_place(path: Path) -> NDArray[np.float64]:
    image = sitk.ReadImage(str(path))
    k, j, i = np.unravel_index(int(sitk.GetArrayFromImage(image).argmax()), image.GetSize()[::-1])
    return LPS @ image.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))


def nibabel_place(path: Path) -> NDArray[np.float64]:
    image = nib.load(path)
    return place(np.asarray(image.dataobj), image.affine)


def itk_image(voxels: NDArray[Any], grid: Geometry) -> Any:
    image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    image.SetSpacing(grid.spacing)
    image.SetDirection((LPS @ grid.affine[:3, :3] / np.array(grid.spacing)).ravel().tolist())
    image.SetOrigin((LPS @ grid.affine[:3, 3]).tolist())
    return image


@given(marked())
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_nifti_that_we_write_is_where_it_was(name: str, case: Any) -> None:
    grid, index, voxels = case
    expected = (grid.affine @ [*index, 1])[:3]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_nifti(path, voxels, grid)
        ours = read_nifti(path)
        assert ours.geometry.agrees_with(grid) and not ours.warnings
        np.testing.assert_allclose(place(ours.array, ours.geometry.affine), expected, **NEAR)
        np.testing.assert_allclose(nibabel_place(path), expected, **NEAR)
        np.testing.assert_allclose(itk_place(path), expected, **NEAR)


@given(marked())
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_nrrd_and_metaimage_that_we_write_are_where_they_were(name: str, case: Any) -> None:
    grid, index, voxels = case
    expected = (grid.affine @ [*index, 1])[:3]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_itk(path, voxels, grid)
        ours = read_itk(path)
        assert ours.geometry.agrees_with(grid) and read_itk_geometry(path).agrees_with(grid)
        np.testing.assert_allclose(place(ours.array, ours.geometry.affine), expected, **NEAR)
        np.testing.assert_allclose(itk_place(path), expected, **NEAR)


@given(marked())
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.mhd", "a.nhdr"])
def test_what_itk_writes_is_where_itk_put_it(name: str, case: Any) -> None:
    grid, index, voxels = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        sitk.WriteImage(itk_image(voxels, grid), str(path))
        ours = read_nifti(path) if ".nii" in name else read_itk(path)
        np.testing.assert_allclose(
            place(ours.array, ours.geometry.affine), (grid.affine @ [*index, 1])[:3], atol=2e-2, rtol=0
        )
        np.testing.assert_allclose(place(ours.array, ours.geometry.affine), itk_place(path), atol=2e-2, rtol=0)


@given(marked(), st.sampled_from(["sform", "qform", "both"]), st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]))
@pytest.mark.parametrize("name", ["a.nii.gz", "a.hdr"])
def test_what_nibabel_writes_is_where_nibabel_put_it(name: str, case: Any, coded: str, kind: Any) -> None:
    grid, _, voxels = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if name.endswith(".hdr"):
            kind = nib.Nifti1Pair if kind is nib.Nifti1Image else nib.Nifti2Pair
        image = kind(voxels, grid.affine)
        image.set_sform(grid.affine, code=0 if coded == "qform" else 2)
        image.set_qform(grid.affine, code=0 if coded == "sform" else 1)
        nib.save(image, path)
        ours = read_nifti(path)
        np.testing.assert_allclose(place(ours.array, ours.geometry.affine), nibabel_place(path), **NEAR)
        assert read_nifti_geometry(path).agrees_with(ours.geometry)


@pytest.mark.parametrize("axes", AXIS_ORDERS, ids=lambda axes: "".join(nib.aff2axcodes(np.pad(axes, (0, 1)))))
def test_all_48_axis_orders(tmp_path: Path, axes: NDArray[np.int64]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = axes * [0.7, 1.1, 2.5]
    affine[:3, 3] = 11, -23, 37
    grid = Geometry((3, 4, 5), affine)
    voxels = np.zeros(grid.shape, np.uint8)
    voxels[2, 1, 3] = 9
    expected = (affine @ [2, 1, 3, 1])[:3]
    for name, write, read in (("a.nii.gz", write_nifti, read_nifti), ("a.nrrd", write_itk, read_itk)):
        write(tmp_path / name, voxels, grid)
        ours = read(tmp_path / name)
        assert ours.geometry.orientation == grid.orientation
        np.testing.assert_allclose(place(ours.array, ours.geometry.affine), expected, **NEAR)
        np.testing.assert_allclose(itk_place(tmp_path / name), expected, **NEAR)


def test_a_sheared_grid_is_kept_and_no_qform_pretends_otherwise(tmp_path: Path) -> None:
    affine = np.array([[1, 0, 0.4, 5], [0, 2, 0, -3], [0, 0, 3, 8], [0, 0, 0, 1]])
    grid = Geometry((4, 5, 6), affine)
    write_nifti(tmp_path / "a.nii.gz", np.zeros(grid.shape, np.uint8), grid)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert read_nifti(tmp_path / "a.nii.gz").geometry.agrees_with(grid)
    with pytest.raises(RuntimeError, match="orthonormal"):  # ITK says so rather than straighten it
        sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    for name in ("a.nrrd", "a.mha"):
        write_itk(tmp_path / name, np.zeros(grid.shape, np.uint8), grid)
        assert read_itk(tmp_path / name).geometry.agrees_with(grid)


def test_a_grid_that_float32_cannot_say_becomes_nifti_2(tmp_path: Path) -> None:
    affine = np.diag([0.1234567891, 0.1234567891, 0.1234567891, 1])
    affine[:3, 3] = 123456.785, 0.001, 5
    grid = Geometry((9, 9, 9), affine)
    write_nifti(tmp_path / "a.nii", np.zeros(grid.shape, np.uint8), grid)
    assert isinstance(nib.load(tmp_path / "a.nii"), nib.Nifti2Image)
    assert read_nifti_geometry(tmp_path / "a.nii").agrees_with(grid, tolerance_mm=1e-6)


def test_halfway_between_two_float32_itk_still_reads_it(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, 3] = 1999 + float(np.spacing(np.float32(1999))) / 2
    write_nifti(tmp_path / "a.nii", np.ones((1, 1, 1), np.uint8), Geometry((1, 1, 1), affine))
    np.testing.assert_allclose(itk_place(tmp_path / "a.nii"), affine[:3, 3], **NEAR)


def test_an_axis_longer_than_nifti_1_has_becomes_nifti_2(tmp_path: Path) -> None:
    grid = Geometry((40000, 2, 1), np.diag([0.01, 1, 1, 1]))
    write_nifti(tmp_path / "a.nii", np.ones(grid.shape, np.uint8), grid)
    assert read_nifti(tmp_path / "a.nii").array.shape == (40000, 2, 1)
