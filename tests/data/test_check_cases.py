"""What the check of a dataset finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from monai.transforms import Compose, LoadImaged, Spacingd
from numpy.typing import NDArray
from PIL import Image as Pillow

from medseg.data import Case, check_cases, find_cases
from medseg.data.fit import Kind, Taken
from medseg.errors import DatasetError
from medseg.images import Geometry, LabelCoding, write_labels, write_volume
from medseg.images.reader import Reader
from medseg.types import LabelClass

CLASSES = {1: "liver", 2: "spleen"}
TAKEN = Taken(2, 3, ("red", "green", "blue"), by_slices=False, has_layer=False)
LOAD = Compose([LoadImaged(keys="image", reader=Reader, ensure_channel_first=True)])


def write_nifti(path: Path, array: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nib.save(image, path)


def write_case(
    root: Path,
    name: str,
    *,
    values: tuple[float, ...] = (0, 1, 2),
    dtype: type[np.generic] = np.uint8,
    label_affine: NDArray[np.float64] | None = None,
    label_shape: tuple[int, int, int] = (4, 5, 6),
) -> None:
    affine = np.diag([-2.0, 2.0, 4.0, 1.0])
    write_nifti(root / "images" / f"{name}.nii.gz", np.zeros((4, 5, 6), np.int16), affine)
    label = np.resize(np.array(values), label_shape).astype(dtype)
    write_nifti(root / "labels" / f"{name}.nii.gz", label, affine if label_affine is None else label_affine)


def test_a_sound_dataset_passes(tmp_path: Path) -> None:
    write_case(tmp_path, "a")
    write_case(tmp_path, "b", values=(0,))
    write_case(tmp_path, "c", values=(0, 1.0005, 1.9995), dtype=np.float32)
    # A difference of a micrometre is the rounding of a file format, not another grid.
    write_case(tmp_path, "d", label_affine=np.diag([-2.0, 2.0, 4.000001, 1.0]))

    check_cases(find_cases(tmp_path), class_names=CLASSES)
    check_cases(find_cases(tmp_path), class_names={0: "background", **CLASSES})


def test_second_observers_classes_are_the_bundles_too(tmp_path: Path) -> None:
    write_case(tmp_path, "a")
    write_case(tmp_path / "second", "b", values=(0, 9))
    (case,) = find_cases(tmp_path)
    observed = replace(case, observer=tmp_path / "second" / "labels" / "b.nii.gz")
    with pytest.raises(DatasetError, match=r"second/labels/b\.nii\.gz holds the value 9: expected 0 \(background\), 1"):
        check_cases([observed], class_names=CLASSES)


@pytest.mark.parametrize(
    ("values", "dtype", "found"),
    [
        ((0, 1, 7), np.uint8, "the value 7"),
        ((0, -1, 2), np.int16, "the value -1"),
        ((0, 1, 255, 254), np.uint8, "the values 254, 255"),
        (tuple(range(12)), np.uint8, "the values 3, 4, 5, 6, 7 and 4 more"),
    ],
)
def test_a_value_of_no_class_is_named(
    tmp_path: Path, values: tuple[float, ...], dtype: type[np.generic], found: str
) -> None:
    write_case(tmp_path, "a", values=values, dtype=dtype)

    with pytest.raises(DatasetError) as error:
        check_cases(find_cases(tmp_path), class_names=CLASSES)

    assert str(error.value) == (
        f"{tmp_path}/labels/a.nii.gz holds {found}: expected 0 (background), 1 (liver), 2 (spleen); renumber it, or "
        "take values by --label_reader::coding '{take: {5: 1}}', which makes class 1 of a 5; `medseg adapt` makes a "
        "bundle for other classes"
    )


def test_a_value_between_classes_is_named(tmp_path: Path) -> None:
    write_case(tmp_path, "a", values=(0, 1.5, 2), dtype=np.float32)

    with pytest.raises(DatasetError, match=r"labels/a.nii.gz: 40 voxels, one of them 1.5, are no whole numbers"):
        check_cases(find_cases(tmp_path), class_names=CLASSES)


@pytest.mark.parametrize(
    "label_affine",
    [
        pytest.param(np.diag([2.0, 2.0, 4.0, 1.0]), id="flipped"),
        pytest.param(np.diag([-2.0, 2.0, 4.1, 1.0]), id="another spacing"),
        pytest.param(np.diag([-2.0, 2.0, 4.0, 1.0]) + np.eye(4, k=3) * 2, id="moved by one voxel"),
    ],
)
def test_a_label_on_another_grid_is_named(tmp_path: Path, label_affine: NDArray[np.float64]) -> None:
    write_case(tmp_path, "a", label_affine=label_affine)

    with pytest.raises(DatasetError, match=r"labels/a.nii.gz: not on the grid of its image: the corners lie"):
        check_cases(find_cases(tmp_path), class_names=CLASSES)


def test_a_label_of_another_shape_is_named(tmp_path: Path) -> None:
    write_case(tmp_path, "a", label_shape=(4, 5, 7))

    with pytest.raises(DatasetError, match=r"not on the grid of its image: shape \(4, 5, 7\) against \(4, 5, 6\)"):
        check_cases(find_cases(tmp_path), class_names=CLASSES)


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_a_broken_file_is_named(tmp_path: Path, folder: str) -> None:
    write_case(tmp_path, "a")
    (tmp_path / folder / "a.nii.gz").write_bytes(b"")

    with pytest.raises(DatasetError, match=f"{folder}/a.nii.gz"):
        check_cases(find_cases(tmp_path), class_names=CLASSES)


def test_the_first_of_several_problems_is_named_and_the_others_counted(tmp_path: Path) -> None:
    for name, values in (("a", (0, 1)), ("b", (9,)), ("c", (8,)), ("d", (0,)), ("e", (7,))):
        write_case(tmp_path, name, values=values)

    with pytest.raises(DatasetError, match=r"labels/b.nii.gz holds the value 9: .* \(2 other cases have problems"):
        check_cases(find_cases(tmp_path), class_names=CLASSES)
    with pytest.raises(DatasetError, match=r"labels/c.nii.gz holds .* \(1 other case has problems too\)"):
        check_cases(find_cases(tmp_path)[2:], class_names=CLASSES)


def test_a_picture_among_volumes_and_a_volume_among_pictures_are_named(tmp_path: Path) -> None:
    for name, pages in (("a", 1), ("b", 3)):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
            tifffile.imwrite(
                tmp_path / folder / f"{name}.tif", np.zeros((pages, 5, 7), np.uint8), photometric="minisblack"
            )
    cases = find_cases(tmp_path)

    check_cases(cases, class_names=CLASSES)
    for dims, others, wrong in ((3, 2, "a"), (2, 3, "b")):
        with pytest.raises(
            DatasetError,
            match=rf"images/{wrong}\.tif: has {others} dimensions, and other cases have {dims}; leave it out$",
        ):
            check_cases(cases, class_names=CLASSES, kind=Kind(dims, 1, TAKEN, LOAD))


def test_a_grey_picture_among_coloured_ones_is_named_unless_the_reader_makes_it_one(tmp_path: Path) -> None:
    for name, shape in (("a", (5, 7, 3)), ("b", (5, 7)), ("c", (5, 7, 3))):
        for folder, pixels in (("images", np.zeros(shape, np.uint8)), ("labels", np.zeros((5, 7), np.uint8))):
            (tmp_path / folder).mkdir(exist_ok=True)
            Pillow.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    cases = find_cases(tmp_path)

    with pytest.raises(DatasetError, match=r"images/b\.png: has 1 channel, and other cases have 3; convert it$"):
        check_cases(cases, class_names=CLASSES, kind=Kind(2, 3, TAKEN, LOAD))
    as_rgb = Compose([LoadImaged(keys="image", reader=Reader(rgb=True), ensure_channel_first=True)])
    check_cases(cases, class_names=CLASSES, kind=Kind(2, 3, TAKEN, as_rgb))
    (tmp_path / "images" / "c.png").write_bytes((tmp_path / "images" / "c.png").read_bytes()[:45])
    with pytest.raises(DatasetError, match=r"images/c\.png: truncated or damaged PNG"):
        check_cases(cases, class_names=CLASSES, kind=Kind(2, 3, TAKEN, as_rgb))


def test_picture_whose_mask_tells_no_pixel_size_is_refused_where_pictures_are_resampled_by_it(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    pixels = np.zeros((5, 7), np.uint8)
    tifffile.imwrite(tmp_path / "images" / "a.tif", pixels, resolution=(1e5, 1e5), resolutionunit="CENTIMETER")
    Pillow.fromarray(pixels).save(tmp_path / "labels" / "a.png")
    cases = find_cases(tmp_path)
    check_cases(cases, class_names=CLASSES, kind=Kind(2, 1, TAKEN, LOAD))
    resampled = Compose([*LOAD.transforms, Spacingd(keys=["image", "label"], pixdim=(1e-3, 1e-3))])
    with pytest.raises(DatasetError, match=r"labels/a\.png: tells another size of its pixels than its image does"):
        check_cases(cases, class_names=CLASSES, kind=Kind(2, 1, TAKEN, resampled))


def test_a_volume_of_one_slice_is_no_picture(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        write_nifti(tmp_path / folder / "a.nii.gz", np.zeros((4, 5, 1), np.uint8), np.eye(4))

    check_cases(find_cases(tmp_path), class_names=CLASSES, kind=Kind(3, 1, TAKEN, LOAD))


def test_structures_of_other_names_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    grid = Geometry((2, 2, 2), np.eye(4))
    values = np.array([0, 1, 2, 1, 0, 0, 0, 0], np.uint8).reshape(2, 2, 2)
    for name, classes in (("a", ("Liver", "label 2")), ("b", ("heart", "spleen")), ("c", ("heart", "spleen"))):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        write_volume(tmp_path / "images" / f"{name}.nii.gz", values, grid)
        named = [LabelClass(value, each) for value, each in enumerate(classes, 1)]
        write_labels(tmp_path / "labels" / f"{name}.nii.gz", values, grid, classes=named)
    check_cases(find_cases(tmp_path), class_names=CLASSES)
    (told,) = caplog.messages
    assert "labels/b.nii.gz: names 1 'heart' ('liver'); the bundle's names are in brackets: are these the" in told


def test_a_case_without_a_label_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"case x has no label: add that of .*x, or choose another fold$"):
        check_cases([Case("x", (tmp_path / "x",), ())], class_names=CLASSES)


def test_the_real_set_passes_and_fails_for_missing_classes(data_dir: Path) -> None:
    cases = find_cases(data_dir / "hippocampus")

    check_cases(cases, class_names={1: "anterior", 2: "posterior"})
    with pytest.raises(DatasetError, match=r"hippocampus_001.nii.gz holds the value 2: .* \(199 other cases"):
        check_cases(cases, class_names={1: "anterior"})


def test_masks_of_structures_are_not_taken_for_parts_of_one(tmp_path: Path) -> None:
    """As they are where every lesion of a picture has a file: all would be class 1."""
    grid = Geometry((2, 2, 2), np.eye(4))
    (tmp_path / "s1" / "segmentations").mkdir(parents=True)
    write_volume(tmp_path / "s1" / "ct.nii.gz", np.zeros((2, 2, 2), np.int16), grid)
    for name in ("liver", "spleen", "aorta"):
        write_labels(tmp_path / "s1" / "segmentations" / f"{name}.nii.gz", np.ones((2, 2, 2), np.uint8), grid)
    with pytest.raises(DatasetError, match=r"segmentations: holds a mask for each structure; add --layer masks"):
        check_cases(find_cases(tmp_path), class_names=CLASSES)
    coding = LabelCoding.of("names", classes=[LabelClass(value, name) for value, name in CLASSES.items()])
    assert check_cases(find_cases(tmp_path), class_names=CLASSES, coding=coding) == set()


def test_mask_that_does_not_lie_on_its_image_is_named(tmp_path: Path) -> None:
    write_case(tmp_path, "a")
    write_case(tmp_path / "second", "m", values=(0, 255), label_shape=(4, 5, 7))
    (case,) = find_cases(tmp_path)
    with pytest.raises(DatasetError, match=r"second/labels/m\.nii\.gz"):
        check_cases([replace(case, mask=tmp_path / "second" / "labels" / "m.nii.gz")], class_names=CLASSES)
