"""NIfTI files come back as they are, and what is wrong with one is named."""

from __future__ import annotations

import csv
import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from medseg.errors import ImageError, OutputError
from medseg.images import Geometry, find_images, read_geometry, read_image, write_labels, write_volume
from medseg.images.nifti import read_nifti
from medseg.images.nifti_write import write_nifti
from medseg.images.values import whole_numbers
from medseg.types import CodedTerm, LabelClass

AFFINE = np.array([[0.0, -1.5, 0.0, 10.0], [2.0, 0.0, 0.1, -7.0], [0.0, 0.05, 3.0, 40.0], [0, 0, 0, 1]])
GEOMETRY = Geometry((4, 5, 6), AFFINE)
VOXELS = np.arange(120, dtype=np.int16).reshape(4, 5, 6) - 50


def patch(path: Path, offset: int, layout: str, *values: float) -> None:
    """Overwrite bytes of a header."""
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)


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


def test_whole_scaling_keeps_integers_and_widens_them_where_needed(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.array([[[0, 4095]]], np.uint16), AFFINE)
    image.header.set_slope_inter(1, -1024)
    nib.save(image, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii").array
    assert read.dtype == np.int16
    assert read.ravel().tolist() == [-1024, 3071]
    image.header.set_slope_inter(100, 0)
    nib.save(image, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").array.ravel().tolist() == [0, 409500]
    image.header.set_slope_inter(2.0**70, 0)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_image(tmp_path / "a.nii").array.ravel(), [0, 4095 * 2.0**70], rtol=1e-6)


@pytest.mark.parametrize(("slope", "inter"), [(0.0, 5.0), (np.nan, 5.0), (1.0, 0.0)])
def test_slope_of_zero_or_nan_is_no_scaling(tmp_path: Path, slope: float, inter: float) -> None:
    path = tmp_path / "a.nii"
    write_volume(path, VOXELS, GEOMETRY)
    patch(path, 112, "<ff", slope, inter)
    np.testing.assert_array_equal(read_image(path).array, VOXELS)


def test_fourth_axis_of_one_is_dropped_and_a_longer_one_is_channels(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS[..., None], AFFINE), tmp_path / "one.nii")
    assert read_image(tmp_path / "one.nii").array.shape == (4, 5, 6)
    two = np.stack([VOXELS, -VOXELS], -1)
    nib.save(nib.Nifti1Image(two, AFFINE), tmp_path / "two.nii")
    image = read_image(tmp_path / "two.nii")
    np.testing.assert_array_equal(image.array, two)
    assert image.warnings == ()
    nib.save(nib.Nifti1Image(two[:, :, :, None], AFFINE), tmp_path / "vectors.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "vectors.nii").array, two)


def test_time_points_become_channels_with_a_warning(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.stack([VOXELS] * 3, -1), AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii")
    assert read.array.shape == (4, 5, 6, 3)
    assert read.warnings == ("3 time points taken as channels",)


@pytest.mark.parametrize("shape", [(2, 2, 2, 2, 2), (2, 2, 2, 1, 1, 2), (7,)])
def test_other_numbers_of_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), AFFINE), tmp_path / "a.nii")
    with pytest.raises(ImageError, match=r"a\.nii: has \d ax[ei]s"):
        read_image(tmp_path / "a.nii")


def test_two_axes_are_a_picture(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS[:, :, 0], AFFINE), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert (image.array.shape, image.spatial_dims) == ((4, 5, 1), 2)


@pytest.mark.parametrize("letters", ["RGB", "RGBA"])
def test_colours_are_channels(tmp_path: Path, letters: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 6, len(letters)), np.uint8)
    packed = colours.view([(letter, np.uint8) for letter in letters])[..., 0]
    nib.save(nib.Nifti1Image(packed, AFFINE), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").array, colours)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("order", "<>")
def test_both_versions_pairs_and_byte_orders(tmp_path: Path, kind: Any, order: str) -> None:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(VOXELS.dtype.newbyteorder(order))
    path = tmp_path / ("a.hdr" if "Pair" in kind.__name__ else "a.nii")
    nib.save(kind(VOXELS, AFFINE, header), path)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert image.array.dtype == np.dtype(np.int16)
    assert image.geometry.agrees_with(GEOMETRY, tolerance_mm=1e-4)
    assert {file.suffix for file in image.files} == ({".hdr", ".img"} if path.suffix == ".hdr" else {".nii"})


def test_a_pair_is_read_by_either_name_and_its_missing_half_is_named(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, AFFINE), tmp_path / "a.img")
    for name in ("a.hdr", "a.img"):
        np.testing.assert_array_equal(read_image(tmp_path / name).array, VOXELS)
    (tmp_path / "a.img").unlink()
    with pytest.raises(ImageError, match=r"a\.hdr: the header of a pair, and no \.img"):
        read_image(tmp_path / "a.hdr")


def test_analyze_is_refused_by_name(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(VOXELS, AFFINE), tmp_path / "a.img")
    for name in ("a.hdr", "a.img"):
        with pytest.raises(ImageError, match=rf"{name[:1]}\.{name[2:]}: ANALYZE 7\.5, which does not tell left"):
            read_image(tmp_path / name)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_volume(
        tmp_path / "a.nii.gz", rng.integers(0, 9999, (20, 20, 20)).astype(np.int16), Geometry((20, 20, 20), AFFINE)
    )
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "cut.nii").write_bytes(gzip.decompress(content)[:-100])
    for name in ("cut.nii.gz", "cut.nii"):
        with pytest.raises(ImageError, match=f"{name}: truncated"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("offset", "layout", "values", "message"),
    [
        (40, "<h", (9,), "says 9 axes"),
        (40, "<h", (0,), "says 0 axes"),
        (42, "<h", (-4,), "lengths"),
        (44, "<h", (0,), "lengths"),
        (42, "<hhh", (32767, 32767, 32767), "truncated: its header tells of 70"),
        (70, "<h", (77,), "no data type 77"),
        (70, "<h", (1,), "data type 1 "),
        (70, "<hh", (32, 64), "complex"),
        (72, "<h", (8,), "8 bits per voxel of a type"),
        (108, "<f", (100.0,), "voxels from byte 100"),
        (108, "<f", (np.nan,), "voxels from byte nan"),
        (108, "<f", (1e9,), "truncated: its header tells"),
        (112, "<ff", (np.inf, 0.0), "scaled by inf"),
        (112, "<ff", (2.0, np.nan), "scaled by 2.0 and nan"),
        (280, "<f", (np.nan,), "place in the world is damaged"),
        (280, "<ffff", (0.0, 0.0, 0.0, 0.0), "place in the world is damaged"),
        (80, "<f", (-2.0,), "place in the world is damaged"),
        (256, "<fff", (2.0, 2.0, 2.0), "place in the world is damaged"),
    ],
)
def test_damaged_header_is_named(tmp_path: Path, offset: int, layout: str, values: Any, message: str) -> None:
    path = tmp_path / "a.nii"
    grid = Geometry((4, 5, 6), np.diag([2.0, 3, 4, 1]))
    write_volume(path, VOXELS, grid)
    patch(path, offset, layout, *values)
    with pytest.raises(ImageError, match=rf"a\.nii: [^\n]*{message}[^\n]*$"):
        read_image(path)


def test_huge_header_takes_no_memory(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii", np.zeros((4, 5, 6), np.uint8), GEOMETRY)
    patch(tmp_path / "a.nii", 42, "<hhh", 9000, 9000, 9000)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    with pytest.raises(ImageError, match="729000000000 bytes of voxels"):
        read_image(tmp_path / "a.nii.gz")


def test_gzip_in_pieces_and_voxels_at_an_odd_offset_are_read(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii", VOXELS, GEOMETRY)
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "pieces.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    (tmp_path / "odd.nii").write_bytes(content[:352] + b"\0" + content[352:])
    patch(tmp_path / "odd.nii", 108, "<f", 353)
    (tmp_path / "odd.nii.gz").write_bytes(gzip.compress((tmp_path / "odd.nii").read_bytes()))
    for name in ("pieces.nii.gz", "odd.nii.gz"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, VOXELS)
        assert image.array.flags.aligned and not image.warnings


def test_damaged_gzip_is_refused_though_the_voxels_are_all_there(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", VOXELS, GEOMETRY)
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[-6] ^= 1  # of the sum
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ImageError, match="truncated or damaged"):
        read_image(tmp_path / "a.nii.gz")


def test_damaged_extensions_and_bytes_behind_the_voxels_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    write_nifti(path, VOXELS, GEOMETRY, classes=[LabelClass(1, "liver")])
    patch(path, 352, "<i", 999_999)
    path.write_bytes(path.read_bytes() + b"tail")
    image = read_image(path)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert image.warnings == (
        "the header's extensions are damaged and were ignored",
        "4 bytes follow the voxels and were ignored",
    )


def test_lengths_in_micrometres_and_metres_are_converted(tmp_path: Path) -> None:
    for unit, factor in (("micron", 1000), ("meter", 0.001)):
        image = nib.Nifti1Image(VOXELS, np.diag([factor, factor, factor, 1]) @ AFFINE)
        image.header.set_xyzt_units(unit)
        image.set_qform(image.affine, 0)
        nib.save(image, tmp_path / "a.nii")
        read = read_image(tmp_path / "a.nii")
        assert read.geometry.agrees_with(GEOMETRY)
        assert len(read.warnings) == 1 and "converted to mm" in read.warnings[0]


def test_nan_is_refused_with_how_many(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0, :2] = np.nan, np.inf
    write_volume(tmp_path / "a.nii.gz", voxels, GEOMETRY)
    with pytest.raises(ImageError, match="2 voxels are NaN, infinite"):
        read_image(tmp_path / "a.nii.gz")


def test_sform_and_qform_that_disagree_are_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.set_sform(np.diag([-1, 1, 1, 1]), code=2)
    image.set_qform(np.eye(4), code=1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(ImageError, match=r"sform and qform place it differently: .*LAS against RAS"):
        read_geometry(tmp_path / "a.nii")


def test_sform_and_qform_that_nearly_agree_are_warned_of(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 0.5
    image.set_sform(moved, code=2)
    image.set_qform(np.eye(4), code=1)
    nib.save(image, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii")
    assert read.geometry.affine[0, 3] == 0.5
    assert len(read.warnings) == 1 and "0.5 mm apart" in read.warnings[0] and "sform is used" in read.warnings[0]


def test_qfac_of_zero_means_one(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii", VOXELS, Geometry((4, 5, 6), np.diag([2.0, 3, 4, 1])))
    patch(tmp_path / "a.nii", 76, "<f", 0.0)
    assert read_image(tmp_path / "a.nii").geometry.orientation == "RAS"


def test_file_without_a_place_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, None)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(ImageError, match="neither sform nor qform"):
        read_image(tmp_path / "a.nii")


def test_classes_come_back_and_other_readers_are_not_hurt(tmp_path: Path) -> None:
    classes = (
        LabelClass(1, "Leber, größte", (10, 20, 30), CodedTerm("10200004", "SCT", "Liver")),
        LabelClass(300, "tumour"),
    )
    labels = np.zeros((4, 5, 6), np.uint16)
    labels[1, 2, 3] = 300
    grid = Geometry((4, 5, 6), np.diag([2.0, 3, 4, 1]))
    for name in ("a.nii", "a.nii.gz"):
        write_nifti(tmp_path / name, labels, grid, classes=classes)
        assert read_image(tmp_path / name).classes == classes
        np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / name).dataobj), labels)
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name)))
        np.testing.assert_array_equal(theirs.transpose(2, 1, 0), labels)
    assert int(nib.load(tmp_path / "a.nii").header["intent_code"]) == 1002


def test_label_tables_of_other_programs_are_classes(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "ct_multiorgan" / "labels" / "ct_3mm.nii.gz"
    with (path.parents[1] / "labels.csv").open() as stream:
        names = {int(row["value"]): row["name"] for row in csv.DictReader(stream)}
    classes = read_image(path).classes
    assert {each.value: each.name for each in classes} == {value: name for value, name in names.items() if value}
    assert classes[0] == LabelClass(1, "spleen", (0, 255, 0))


def test_label_table_of_workbench_has_a_background_that_is_no_class(tmp_path: Path) -> None:
    table = '<LabelTable><Label Key="0" Red="1" Green="1" Blue="1" Alpha="0"><![CDATA[???]]></Label>'
    table += '<Label Key="4" Red="1" Green="0.5" Blue="0" Alpha="1">Putamen</Label></LabelTable>'
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table.encode()))
    nib.save(image, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").classes == (LabelClass(4, "Putamen", (255, 128, 0)),)


def test_channels_are_written_as_the_fourth_axis(tmp_path: Path) -> None:
    channels = np.stack([VOXELS, VOXELS + 7], -1)
    write_volume(tmp_path / "a.nii.gz", channels, GEOMETRY)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj), channels)
    image = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.array, channels)
    assert image.warnings == ()


@pytest.mark.parametrize("dtype", ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_every_type_can_be_written(tmp_path: Path, dtype: str) -> None:
    voxels = np.array([[[0, 1], [1, 0]]]).astype(dtype)
    write_volume(tmp_path / "a.nii.gz", voxels, Geometry((1, 2, 2), np.eye(4)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").array, voxels)


def test_same_voxels_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, VOXELS, GEOMETRY)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[4:8] == bytes(4)  # no time of day in it


def test_labels_as_floats_are_rounded_and_fractions_named(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    np.testing.assert_array_equal(whole_numbers(np.array([0.0004, 1.9996, 117]), path), [0, 2, 117])
    assert whole_numbers(np.array([True]), path).dtype == np.uint8
    with pytest.raises(ImageError, match=r"a\.nii: 2 voxels, one of them 0\.5, are no whole numbers"):
        whole_numbers(np.array([0, 0.5, 0.25]), path)
    with pytest.raises(ImageError, match="are no labels"):
        whole_numbers(np.array([0, 1e12]), path)


def test_real_labels_are_whole_numbers_and_soft_ones_are_not(data_dir: Path) -> None:
    for path in sorted((data_dir / "hippocampus" / "labels").iterdir())[:20]:
        assert set(np.unique(whole_numbers(read_nifti(path).array, path))) <= {0, 1, 2}
    soft = data_dir / "ct_lung" / "labels" / "lung_001.nii.gz"
    with pytest.raises(ImageError, match="threshold or round"):
        whole_numbers(read_nifti(soft).array, soft)


def test_real_files_agree_with_nibabel_without_a_warning(data_dir: Path) -> None:
    found = [*(data_dir / "ct_multiorgan").rglob("*.nii.gz"), *(data_dir / "dicom_qa").rglob("*.nii.gz")]
    assert found
    for path in found:
        image, theirs = read_nifti(path), nib.load(path)
        assert image.warnings == () or path.parts[-3] == "time_series_4d"
        np.testing.assert_allclose(image.geometry.affine, theirs.affine, atol=1e-6)
        np.testing.assert_allclose(image.array, theirs.get_fdata(), rtol=1e-6)


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
    assert [(found.name, Path(found.path).name) for found in find_images(tmp_path)] == [
        ("a.1", "a.1.nii.gz"),
        ("b", "b.nii.gz"),
    ]
    (tmp_path / "b.nii").write_bytes(gzip.decompress((tmp_path / "b.nii.gz").read_bytes()))
    with pytest.raises(ImageError, match=r"b\.nii and b\.nii\.gz would give one result"):
        find_images(tmp_path)


def test_folder_without_images_and_missing_path_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no image in it; expected a NIfTI, DICOM"):
        find_images(tmp_path)
    with pytest.raises(ImageError, match="nothing: does not exist"):
        read_image(tmp_path / "nothing")
