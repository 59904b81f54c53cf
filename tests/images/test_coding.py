"""Label files in values, in black and white or in colours become class values, or an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.transforms import LoadImaged
from PIL import Image as Pillow

from medseg.errors import ConfigError, ImageError, user_error_in
from medseg.images import Geometry, LabelCoding, read_image, read_label, read_label_parts, write_labels
from medseg.images.image import Image
from medseg.images.palette_table import Palette
from medseg.images.reader import LabelReader, Reader
from medseg.types import LabelClass

CELLS = {"background": 0, "cytoplasm": 128, "nucleus": 255}
VESSELS = {"background": [0, 0, 0], "artery": [255, 0, 0], "vein": [0, 0, 255]}


def picture(array: Any) -> Image:
    array = np.asarray(array)
    return Image(array, Geometry(array.shape[:3], np.eye(4)), Path("a.png"), "PNG", spatial_dims=2)


def decoded(given: Any, array: Any, **options: Any) -> Any:
    return LabelCoding.of(given, **options).decode(picture(array)).array


def areas(*values: Any) -> Any:
    """Areas of 20 by 20 pixels of one value or colour each, side by side."""
    parts = np.array(values, np.uint8)
    return np.repeat(parts, 20, axis=0)[:, None, None] * np.ones((1, 20, 1, *[1] * (parts.ndim - 1)), np.uint8)


def by_area(array: Any) -> list[int]:
    """The value of every area; each must have one alone."""
    rows = array.reshape(-1, 20 * 20)
    assert (rows == rows[:, :1]).all()
    return [int(value) for value in rows[:, 0]]


def write(path: Path, array: Any) -> str:
    Pillow.fromarray(np.asarray(array, np.uint8).squeeze().swapaxes(0, 1)).save(path)
    return str(path)


def load(path: str | list[str], reader: Reader) -> Any:
    given: Any = reader  # MONAI's hint leaves readers out
    return LoadImaged("label", reader=given, ensure_channel_first=True)({"label": path})["label"]


@given(arrays(np.uint8, (4, 5, 2), elements=st.integers(0, 9)))
def test_values_stay_as_they_are(label: Any) -> None:
    np.testing.assert_array_equal(decoded("values", label), label)


def test_values_of_float_files_are_rounded_and_must_be_whole() -> None:
    found = decoded("values", np.array([[[0.0]], [[1.0005]]], np.float32))
    assert found.dtype.kind in "iu" and found.ravel().tolist() == [0, 1]
    with pytest.raises(ImageError, match=r"^a\.png: 1 voxels, one of them 0\.5, are no whole numbers"):
        decoded("values", np.array([[[0.5]]], np.float32))


@given(arrays(np.uint8, (4, 5, 2), elements=st.integers(0, 6)))
def test_take_makes_background_of_every_other_value(label: Any) -> None:
    expected = np.where(label == 5, 1, np.where(label == 2, 3, 0))
    np.testing.assert_array_equal(decoded({"take": {5: 1, "2": 3}}, label), expected)


@pytest.mark.parametrize("array", [areas(0, 1, 0), areas(0, 255, 0), areas([0] * 3, [255] * 3, [0] * 3)])
def test_white_and_black_are_each_others_reverse(array: Any) -> None:
    assert by_area(decoded("white", array)) == [0, 1, 0]
    assert by_area(decoded("black", array)) == [1, 0, 1]


def test_white_of_16_bits_is_white() -> None:
    assert by_area(decoded("white", areas(0, 1).astype(np.uint16) * 65535)) == [0, 1]


@pytest.mark.parametrize("empty", [areas(0, 0), areas([0] * 3, [0] * 3)])
def test_mask_that_is_all_black_holds_nothing_or_is_full(empty: Any) -> None:
    assert not decoded("white", empty).any()
    assert decoded("black", empty).all()


def test_noise_beside_black_and_white_is_decided_by_the_nearer() -> None:
    rng = np.random.default_rng(0)
    mask = areas(0, 255).astype(int) + rng.integers(-40, 40, (40, 20, 1))
    assert by_area(decoded("white", mask.clip(0, 255).astype(np.uint8))) == [0, 1]


def test_grey_areas_are_no_mask() -> None:
    with pytest.raises(ImageError, match=r"^a\.png: \(128, 128, 128\) fills areas, 400 pixels"):
        decoded("white", areas(0, 128, 255))


def test_greys_and_colours_are_numbered_in_their_order() -> None:
    assert by_area(decoded(CELLS, areas(255, 0, 128))) == [2, 0, 1]
    assert by_area(decoded(VESSELS, areas([0, 0, 255], [255, 0, 0], [0, 0, 0]))) == [2, 1, 0]


def test_colours_of_the_classes_are_looked_up_with_black_for_the_background() -> None:
    classes = (LabelClass(1, "a", (10, 200, 30)), LabelClass(2, "b", (200, 0, 0)))
    found = LabelCoding.of("classes", classes=classes).decode(picture(areas([200, 0, 0], [0, 0, 0], [10, 200, 30])))
    assert by_area(found.array) == [2, 0, 1]
    assert found.classes == ()  # the bundle names them


def test_near_white_noise_takes_the_nearest_colour_and_is_within_the_tolerance() -> None:
    """As JPEG leaves it: no pixel is exactly its colour."""
    coding = {"background": [255, 255, 255], "cell": [255, 0, 0]}
    noise = np.random.default_rng(0).integers(-20, 20, (40, 20, 1, 3))
    noisy = (areas([255] * 3, [255, 0, 0]) + noise).clip(0, 255).astype(np.uint8)
    assert by_area(decoded(coding, noisy)) == [0, 1]
    with pytest.raises(ImageError, match=r"^a\.png: .* off the palette"):
        decoded(coding, noisy, tolerance=3.0)


@pytest.mark.parametrize("given", ["white", "black", CELLS, VESSELS])
def test_float_file_has_no_colours(given: Any) -> None:
    with pytest.raises(ImageError, match=r"^a\.png: float32 voxels; a label in colours has whole numbers up to 255$"):
        decoded(given, np.zeros((4, 4, 1), np.float32))


@pytest.mark.parametrize(
    "given",
    [
        "grey",
        7,
        None,
        {},
        {"a": 0, "b": 256},
        {"a": 0, "b": -1},
        {"a": 0, "b": [1, 2]},
        {"a": 0, "b": "red"},
        {"a": 0, "b": None},
        {"a": 0, "b": 0},
        {"take": [5]},
        {"take": {"five": 1}},
        {"take": {5: None}},
        {"take": {5: 256}},
        {"take": {5: -1}},
    ],
)
def test_other_codings_are_one_line_that_tells_what_was_expected(given: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^label coding.* expected 'values', 'white', 'black', 'names', 'classes'"
    ) as error:
        LabelCoding.of(given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("coding", ["white", "black"])
def test_real_masks_of_1_bit_and_of_8_bits(data_dir: Path, coding: str) -> None:
    one = 1 if coding == "white" else 0
    for place, shown in (("us_busi/labels/benign_025.png", 1), ("em_membrane/labels/00.png", 255)):
        stored = read_image(data_dir / place).array
        found = read_label(data_dir / place, coding=LabelCoding.of(coding)).array
        np.testing.assert_array_equal(found == one, stored == shown)


def test_stray_greys_of_a_real_label_take_the_nearest(data_dir: Path) -> None:
    path = data_dir / "wbc_2" / "labels" / "034.png"
    stored = read_image(path).array.astype(int)
    found = read_label(path, coding=LabelCoding.of(CELLS))
    nearest = np.abs(stored[..., None] - np.array([0, 128, 255])).argmin(axis=-1)
    assert {2, 7, 25, 42, 44, 45} <= set(np.unique(stored))
    np.testing.assert_array_equal(found.array, nearest)


def test_blended_edges_of_real_colours_take_the_nearest(data_dir: Path) -> None:
    palette = Palette.from_csv(data_dir / "blood_cells_rgb" / "palette.csv")
    known = np.array([each.colour for each in palette.entries])
    coding = LabelCoding.of({each.name: list(each.colour) for each in palette.entries})
    blended = 0
    for path in sorted((data_dir / "blood_cells_rgb" / "labels").iterdir()):
        stored = read_image(path).array.astype(int)
        distance = np.linalg.norm(stored[..., None, :] - known, axis=-1)
        found = read_label(path, coding=coding).array
        np.testing.assert_array_equal(np.take_along_axis(distance, found[..., None], -1)[..., 0], distance.min(-1))
        np.testing.assert_array_equal(LabelCoding.of("classes", classes=palette.classes).decode(
            read_image(path)).array, found)  # fmt: skip
        blended += int((distance.min(-1) > 0).sum())
    assert blended > 1000


def test_two_lesions_of_one_picture_are_joined(data_dir: Path) -> None:
    paths = [data_dir / "us_busi" / "labels" / name for name in ("benign_025.png", "benign_025_1.png")]
    one, other = (read_image(path).array > 0 for path in paths)
    joined = read_label_parts(paths, coding=LabelCoding.of("white")).array
    np.testing.assert_array_equal(joined, one | other)
    loaded = load([str(path) for path in paths], LabelReader("white"))
    np.testing.assert_array_equal(loaded[0].numpy(), (one | other)[..., 0])
    assert joined.sum() > max(one.sum(), other.sum())


def test_last_part_wins(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.png", areas(1, 1, 0)), write(tmp_path / "b.png", areas(0, 2, 2))
    assert by_area(read_label_parts([first, second]).array) == [1, 2, 2]
    assert by_area(read_label_parts([second, first]).array) == [1, 1, 2]


def test_part_with_values_beyond_a_byte_keeps_them(tmp_path: Path) -> None:
    first = write(tmp_path / "a.png", areas(1, 0))
    Pillow.fromarray(np.repeat(np.array([[0, 300]], np.uint16), 20, axis=1).repeat(20, axis=0)).save(tmp_path / "b.png")
    assert by_area(read_label_parts([first, tmp_path / "b.png"]).array) == [1, 300]


def test_part_of_another_shape_is_named(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.png", areas(*[1] * n)) for n in (1, 2)]
    with pytest.raises(
        ImageError, match=r"2\.png: not on the grid of its image: shape \(40, 20, 1\) against \(20, 20, 1\)"
    ):
        read_label_parts(paths)


def test_parts_lie_on_one_grid_or_are_named_and_are_turned_where_they_may(tmp_path: Path) -> None:
    grid, label = Geometry((4, 5, 6), np.eye(4)), np.zeros((4, 5, 6), np.uint8)
    label[1, 2, 3] = 1
    write_labels(tmp_path / "a.nii.gz", np.zeros_like(label), grid)
    write_labels(tmp_path / "moved.nii.gz", label, Geometry(grid.shape, np.eye(4) + 50 * np.eye(4, k=3)))
    with pytest.raises(ImageError, match=r"moved\.nii\.gz: not on the grid"):
        read_label_parts([tmp_path / "a.nii.gz", tmp_path / "moved.nii.gz"])
    mirrored = np.diag([-1.0, 1, 1, 1])
    mirrored[0, 3] = 3
    write_labels(tmp_path / "turned.nii.gz", label[::-1], Geometry(grid.shape, mirrored))
    joined = read_label_parts([tmp_path / "a.nii.gz", tmp_path / "turned.nii.gz"])
    np.testing.assert_array_equal(joined.array, label)


def test_labels_reach_monai_as_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", areas(0, 255, 128))
    loaded = load(path, LabelReader(CELLS))
    assert loaded.shape == (1, 60, 20)
    assert by_area(loaded.numpy()) == [0, 2, 1]
    with pytest.raises(Exception) as caught:
        load(path, LabelReader("white"))
    assert isinstance(user_error_in(caught.value), ImageError)


def test_wrong_coding_is_an_error_before_any_file_is_read() -> None:
    with pytest.raises(ConfigError, match="label coding 'grey'"):
        LabelReader("grey")


def test_picture_of_more_bits_is_refused_where_eight_are_meant(tmp_path: Path) -> None:
    """Divided by 255 it would be 257 times as bright as any that the network has seen."""
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for name, each in (("8.tif", pixels), ("16.tif", pixels * np.uint16(257))):
        tifffile.imwrite(tmp_path / name, each, photometric="minisblack")
    assert load(str(tmp_path / "8.tif"), Reader(eight_bits=True)).shape == (1, 4, 3)
    with pytest.raises(ImageError, match=r"16\.tif: its samples are uint16; this bundle takes 8 bits"):
        Reader(eight_bits=True).get_data([str(tmp_path / "16.tif")])


def test_grey_picture_has_three_channels_where_they_are_asked_for(data_dir: Path) -> None:
    grey, colour = str(data_dir / "em_membrane" / "images" / "00.png"), str(data_dir / "drive/training/images/21.tif")
    assert load(grey, Reader()).shape == (1, 512, 512)
    tripled = load(grey, Reader(rgb=True))
    assert tripled.shape == (3, 512, 512)
    assert all((channel == load(grey, Reader())[0]).all() for channel in tripled)
    np.testing.assert_array_equal(load(colour, Reader(rgb=True)), load(colour, Reader()))
    assert load(colour, Reader()).shape == (3, 565, 584)


def test_masks_named_after_classes_are_one_label(tmp_path: Path) -> None:
    grid = Geometry((2, 2, 1), np.eye(4))
    masks = {"Liver": [1, 1, 0, 0], "spleen": [0, 2, 1, 0], "aorta": [1, 1, 1, 1]}
    for name, voxels in masks.items():
        write_labels(tmp_path / f"{name}.nii.gz", np.array(voxels, np.uint8).reshape(2, 2, 1), grid)
    coding = LabelReader("names", classes=[LabelClass(1, "spleen"), LabelClass(2, "liver")]).coding
    paths = [tmp_path / f"{name}.nii.gz" for name in masks]

    assert read_label_parts(paths, coding=coding).array.ravel().tolist() == [2, 2, 1, 0], "the later class wins"
    assert read_label_parts(paths[1:], coding=coding).array.ravel().tolist() == [0, 1, 1, 0]
    with pytest.raises(
        ImageError, match=r"aorta\.nii\.gz: neither it nor a file beside it is named after a class \(sp"
    ):
        read_label_parts(paths[2:], coding=coding)
