"""NIfTI files come back as they are, and what is wrong with one is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from medseg.errors import ImageError, OutputError
from medseg.images import Geometry, find_images, read_geometry, read_image, write_labels, write_volume

AFFINE = np.array([[0.0, -1.5, 0.0, 10.0], [2.0, 0.0, 0.1, -7.0], [0.0, 0.05, 3.0, 40.0], [0, 0, 0, 1]])
GEOMETRY = Geometry((4, 5, 6), AFFINE)
VOXELS = np.arange(120, dtype=np.int16).reshape(4, 5, 6) - 50


def test_volume_comes_back_voxel_for_voxel_and_place_for_place(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", VOXELS, GEOMETRY)
    image = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.array, VOXELS)
    assert image.array.dtype == np.int16
    assert image.geometry.agrees_with(GEOMETRY, tolerance_mm=1e-4)
    assert read_geometry(tmp_path / "a.nii.gz").agrees_with(GEOMETRY, tolerance_mm=1e-4)


def test_simpleitk_finds_the_same_value_at_the_same_place(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[:3, :3] = np.linalg.qr(AFFINE[:3, :3])[0] * [1.5, 2, 3]  # ITK takes right-angled grids only
    geometry = Geometry((4, 5, 6), affine)
    write_volume(tmp_path / "a.nii.gz", VOXELS, geometry)
    theirs = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    for index in [(0, 0, 0), (3, 1, 5), (2, 4, 3)]:
        left, posterior, superior = theirs.TransformIndexToPhysicalPoint(index)  # LPS+ mm
        world = (geometry.affine @ [*index, 1])[:3]
        np.testing.assert_allclose(world, [-left, -posterior, superior], atol=1e-3)
        assert theirs[index] == VOXELS[index]


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", VOXELS, GEOMETRY)
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "gzipped.nii").write_bytes(content)
    (tmp_path / "plain.nii.gz").write_bytes(gzip.decompress(content))
    (tmp_path / "no_suffix").write_bytes(content)
    for name in ("gzipped.nii", "plain.nii.gz", "no_suffix"):
        np.testing.assert_array_equal(read_image(tmp_path / name).array, VOXELS)


def test_scaling_is_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii").array
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, nib.load(tmp_path / "a.nii").get_fdata(), rtol=1e-6)


def test_fourth_axis_of_one_is_dropped_and_a_longer_one_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS[..., None], AFFINE), tmp_path / "one.nii")
    assert read_image(tmp_path / "one.nii").array.shape == (4, 5, 6)
    nib.save(nib.Nifti1Image(np.stack([VOXELS] * 2, -1), AFFINE), tmp_path / "two.nii")
    with pytest.raises(ImageError, match=r"two\.nii: has 4 axes"):
        read_image(tmp_path / "two.nii")


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_volume(
        tmp_path / "a.nii.gz", rng.integers(0, 9999, (20, 20, 20)).astype(np.int16), Geometry((20, 20, 20), AFFINE)
    )
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "cut.nii").write_bytes(gzip.decompress(content)[:-100])
    for name in ("cut.nii.gz", "cut.nii"):
        with pytest.raises(ImageError, match=f"{name}: truncated or damaged"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(("content", "message"), [(b"", "0 bytes"), (b"not an image at all", "not a readable NIfTI")])
def test_what_is_no_nifti_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ImageError, match=rf"a\.nii\.gz: .*{message}"):
        read_image(tmp_path / "a.nii.gz")


def test_nan_is_refused_with_how_many(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0, :2] = np.nan, np.inf
    write_volume(tmp_path / "a.nii.gz", voxels, GEOMETRY)
    with pytest.raises(ImageError, match="2 voxels are NaN or infinite"):
        read_image(tmp_path / "a.nii.gz")


def test_sform_and_qform_that_disagree_are_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.set_sform(np.diag([-1, 1, 1, 1]), code=2)
    image.set_qform(np.eye(4), code=1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(ImageError, match=r"sform and qform place it differently: .*LAS against RAS"):
        read_geometry(tmp_path / "a.nii")


def test_file_without_a_place_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, None)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(ImageError, match="neither sform nor qform"):
        read_image(tmp_path / "a.nii")


def test_labels_are_written_in_the_smallest_type_on_the_same_grid(tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 6))
    labels[1, 2, 3] = 2
    write_labels(tmp_path / "new" / "a.nii.gz", labels, GEOMETRY)
    image = read_image(tmp_path / "new" / "a.nii.gz")
    assert image.array.dtype == np.uint8
    np.testing.assert_array_equal(image.array, labels)
    labels[0, 0, 0] = 300
    write_labels(tmp_path / "b.nii.gz", labels, GEOMETRY)
    assert read_image(tmp_path / "b.nii.gz").array.dtype == np.uint16


@pytest.mark.parametrize("value", [-1, 0.5, 70000])
def test_values_that_are_no_labels_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="whole numbers from 0 to 65535"):
        write_labels(tmp_path / "a.nii.gz", np.full((4, 5, 6), value), GEOMETRY)
    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/a\.nii\.gz"):
        write_labels(tmp_path / "file" / "a.nii.gz", np.zeros((4, 5, 6)), GEOMETRY)


def test_images_of_a_folder_are_found_by_name_and_content(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.1.nii.gz", ".hidden.nii.gz"):
        write_volume(tmp_path / name, VOXELS, GEOMETRY)
    (tmp_path / "notes.txt").write_text("no image")
    assert [(found.name, found.path.name) for found in find_images(tmp_path)] == [
        ("a.1", "a.1.nii.gz"),
        ("b", "b.nii.gz"),
    ]
    (tmp_path / "b.nii").write_bytes(gzip.decompress((tmp_path / "b.nii.gz").read_bytes()))
    with pytest.raises(ImageError, match="two images are named 'b'"):
        find_images(tmp_path)


def test_folder_without_images_and_missing_path_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no image in it; expected a NIfTI file or a DICOM series"):
        find_images(tmp_path)
    with pytest.raises(ImageError, match="nothing: does not exist"):
        read_image(tmp_path / "nothing")
