"""The one door: content decides, a series is named behind `::`, a label comes on the grid of its image."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from medseg.errors import ImageError
from medseg.images import (
    Geometry,
    find_images,
    group_channels,
    read_channels,
    read_geometry,
    read_image,
    read_label,
    write_labels,
    write_volume,
)

AFFINE = np.array([[-2.0, 0, 0.1, 5], [0, 0, 1.5, 6], [0, 1, 0, 7], [0, 0, 0, 1]])
GRID = Geometry((4, 5, 6), AFFINE)
VOXELS = np.random.default_rng(0).integers(0, 3, GRID.shape).astype(np.uint8)


def test_content_and_not_the_name_decides(tmp_path: Path) -> None:
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        written = tmp_path / f"a{suffix}"
        write_volume(written, VOXELS, GRID)
        wrong = written.rename(tmp_path / f"{suffix[1:].replace('.', '_')}.jpg")
        image = read_image(wrong)
        np.testing.assert_array_equal(image.array, VOXELS)
        assert image.geometry.agrees_with(GRID) and read_geometry(wrong).agrees_with(GRID)


def test_a_series_is_named_by_number_and_description(phantom: Path) -> None:
    folder = phantom / "dicom_case"
    whole = read_image(folder)
    for name in ("1", whole.path.name):
        if name == "1":
            np.testing.assert_array_equal(read_image(f"{folder}::{name}").array, whole.array)
    with pytest.raises(ImageError, match=r"dicom_case.*no series"):
        read_image(f"{folder}::nothing like it")


@pytest.mark.parametrize(
    ("axes", "flips"), list(itertools.product(itertools.permutations(range(3)), [(), (0,), (1, 2)]))
)
def test_label_of_another_axis_order_is_turned_to_its_image(
    tmp_path: Path, axes: tuple[int, int, int], flips: tuple[int, ...]
) -> None:
    label = nib.Nifti1Image(VOXELS, AFFINE)
    ornt = [[axes.index(axis), -1 if axis in flips else 1] for axis in range(3)]
    nib.save(label.as_reoriented(np.array(ornt)), tmp_path / "label.nii.gz")
    read = read_label(tmp_path / "label.nii.gz", grid=GRID)
    np.testing.assert_array_equal(read.array, VOXELS)
    assert read.geometry.agrees_with(GRID)


def test_label_beside_its_image_is_refused(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 1
    write_labels(tmp_path / "a.nii.gz", VOXELS, Geometry(GRID.shape, moved))
    with pytest.raises(ImageError, match=r"a\.nii\.gz: not on the grid of its image: the corners lie up to 1 mm apart"):
        read_label(tmp_path / "a.nii.gz", grid=GRID)


def test_mask_without_the_resolution_of_its_picture_lies_on_it(tmp_path: Path) -> None:
    pixels = np.zeros((5, 7), np.uint8)
    pixels[1, 2] = 1
    tifffile.imwrite(tmp_path / "a.tif", pixels, resolution=(1e5, 1e5), resolutionunit="CENTIMETER")
    Pillow.fromarray(pixels).save(tmp_path / "mask.png")
    Pillow.fromarray(pixels).save(tmp_path / "fine.png", dpi=(1270, 1270))
    Pillow.fromarray(pixels.T).save(tmp_path / "turned.png")
    grid = read_geometry(tmp_path / "a.tif")
    assert grid.spacing[:2] == pytest.approx((1e-4, 1e-4))
    for name in ("mask.png", "fine.png"):
        label = read_label(tmp_path / name, grid=grid)
        assert label.geometry == grid and label.array[2, 1, 0] == 1 and label.array.sum() == 1
    with pytest.raises(ImageError, match=r"turned\.png: not on the grid of its image: shape \(5, 7, 1\) against"):
        read_label(tmp_path / "turned.png", grid=grid)


def test_mask_without_a_place_lies_on_no_image_that_has_one(tmp_path: Path) -> None:
    grid = Geometry((7, 5, 1), np.array([[0, 0, 1.0, 3], [0.2, 0, 0, 4], [0, -0.2, 0, 5], [0, 0, 0, 1]]))
    Pillow.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(ImageError, match=r"mask\.png: not on the grid of its image"):
        read_label(tmp_path / "mask.png", grid=grid)


def test_channels_come_in_order_and_on_one_grid(tmp_path: Path) -> None:
    paths = [tmp_path / f"case_{number:04d}.nii.gz" for number in range(2)]
    for number, path in enumerate(paths):
        write_volume(path, VOXELS + number, GRID)
    image = read_channels(list(paths))
    assert image.array.shape == (*GRID.shape, 2)
    np.testing.assert_array_equal(image.array[..., 1], VOXELS + 1)
    write_volume(paths[1], VOXELS, Geometry(GRID.shape, AFFINE + np.eye(4, k=3)))
    with pytest.raises(ImageError, match=r"case_0001\.nii\.gz: a channel on another grid than .*case_0000\.nii\.gz"):
        read_channels(list(paths))


def test_channels_are_grouped_by_case() -> None:
    images = {f"{case}_{number:04d}": (case, number) for case in "ba" for number in (1, 0)}
    assert list(group_channels(images)) == ["a", "b"]
    assert group_channels(images) == {"a": (("a", 0), ("a", 1)), "b": (("b", 0), ("b", 1))}
    with pytest.raises(ImageError, match="b: its channel b_0001 is missing"):
        group_channels({name: value for name, value in images.items() if name != "b_0001"})
    with pytest.raises(ImageError, match="c: expected one file per channel"):
        group_channels(images | {"c": ("c", 0)})


def test_images_of_a_folder_are_found_by_content(tmp_path: Path) -> None:
    write_volume(tmp_path / "b.nii.gz", VOXELS, GRID)
    write_volume(tmp_path / "a.mha", VOXELS, GRID)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.nii.gz").write_bytes((tmp_path / "b.nii.gz").read_bytes())
    assert [each.name for each in find_images(tmp_path)] == ["a", "b"]
    write_volume(tmp_path / "A.nii", VOXELS, GRID)
    with pytest.raises(ImageError, match="would give one result"):
        find_images(tmp_path)


@pytest.mark.parametrize("name", ["nowhere.nii.gz", "x" * 300 + ".nii", "loop", "nowhere::2"])
def test_what_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / name)
