"""Colours to label values and back, and nothing guessed in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Pillow

from medseg.errors import ImageError
from medseg.images import Geometry, read_image
from medseg.images.coding import LabelCoding
from medseg.images.image import Image
from medseg.images.palette import (
    Palette,
    PaletteEntry,
    discover_palette,
    labels_from_picture,
    mask_labels,
)
from medseg.types import LabelClass

THREE = Palette(
    (
        PaletteEntry(0, "background", (0, 0, 0)),
        PaletteEntry(1, "artery", (255, 0, 0)),
        PaletteEntry(5, "vein", (0, 0, 255)),
    )
)


def picture(array: Any) -> Image:
    array = np.asarray(array)
    return Image(array, Geometry(array.shape[:3], np.eye(4)), Path("a.png"), "PNG", spatial_dims=2)


def squares(*colours: Any, side: int = 20) -> Any:
    """Areas of one colour each, side by side."""
    return np.concatenate([np.full((side, side, 1, 3), colour, np.uint8) for colour in colours])


def picture_from_labels(labels: Any, palette: Palette) -> Any:
    colours = {each.value: each.colour for each in palette.entries}
    return np.array([colours.get(value, (0, 0, 0)) for value in range(256)], np.uint8)[labels]


@given(arrays(np.uint8, (6, 5, 2), elements=st.sampled_from([0, 1, 5])))
def test_labels_to_colours_and_back(labels: Any) -> None:
    coloured = picture_from_labels(labels, palette=THREE)
    assert coloured.shape == (6, 5, 2, 3)
    image = labels_from_picture(picture(coloured), palette=THREE)
    np.testing.assert_array_equal(image.array, labels)
    assert image.warnings == ()
    assert [each.name for each in image.classes] == ["artery", "vein"]


def test_class_that_the_palette_lacks_is_an_error_with_its_colour_and_pixels() -> None:
    with pytest.raises(ImageError, match=r"a\.png: \(0, 255, 0\) fills areas, 400 pixels, and is no colour"):
        labels_from_picture(picture(squares((0, 0, 0), (0, 255, 0))), palette=THREE)
    with pytest.raises(ImageError, match=r"\(1, 1, 1\) fills areas"):  # a label map, not a coloured one
        labels_from_picture(picture(squares((0, 0, 0), (1, 1, 1))[..., 0]), palette=THREE)


def test_photograph_is_no_label() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 1, 3), np.uint8)
    with pytest.raises(ImageError, match=r"100 % of the pixels, .* are off the palette; it is no label"):
        labels_from_picture(picture(noise), palette=THREE)


def test_tolerance_accepts_areas_that_jpeg_changed() -> None:
    changed = picture(squares((2, 1, 3), (250, 4, 4)))
    with pytest.raises(ImageError, match="fills areas"):
        labels_from_picture(changed, palette=THREE)
    image = labels_from_picture(changed, palette=THREE, tolerance=16)
    assert np.bincount(image.array.ravel()).tolist() == [400, 400]
    assert image.warnings == ()


def test_area_of_another_colour_within_a_raised_tolerance_is_the_nearest_class() -> None:
    light = Palette((PaletteEntry(0, "background", (0, 0, 0)), PaletteEntry(1, "cell", (255, 200, 200))))
    painted = picture(squares((0, 0, 0), (255, 255, 255)))
    with pytest.raises(ImageError, match=r"\(255, 255, 255\) fills areas, 400 pixels, .* --label_reader::tolerance"):
        LabelCoding("colours", light).decode(painted)
    assert LabelCoding("colours", light, tolerance=96).decode(painted).array.sum() == 400


def test_class_values_among_colours_are_no_black_picture() -> None:
    values = np.repeat(np.array((0, 1, 2), np.uint8), 36).reshape(-1, 6, 1)
    with pytest.raises(ImageError, match=r"\(0, 0, 0\) and \(1, 1, 1\) fill areas and would be one class; are these"):
        LabelCoding("colours", THREE).decode(picture(values))
    assert not LabelCoding("colours", THREE).decode(picture(np.zeros((8, 8, 1), np.uint8))).array.any()


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_label_whose_drawing_is_its_transparency_is_refused(kind: str, tmp_path: Path) -> None:
    alpha = np.zeros((8, 8), np.uint8)
    alpha[2:5] = 255
    white, black = np.full((8, 8), 255, np.uint8), np.where(alpha, 255, 0).astype(np.uint8)
    for name, brightness in (("white", white), ("black", black)):
        channels = [brightness] * (3 if kind == "RGBA" else 1)
        if kind == "P":
            indexed = Pillow.fromarray((alpha > 0).astype(np.uint8)).convert("P")
            indexed.putpalette([int(brightness[0, 0])] * 3 + [255] * 3)
            indexed.save(tmp_path / f"{name}.png", transparency=0)
        else:
            Pillow.fromarray(np.dstack([*channels, alpha]), kind).save(tmp_path / f"{name}.png")
    with pytest.raises(
        ImageError, match=r"white\.png: 40 of its pixels are transparent and have the colour of visible ones"
    ):
        LabelCoding("white").decode(read_image(tmp_path / "white.png"))
    decoded = LabelCoding("white").decode(read_image(tmp_path / "black.png"))
    np.testing.assert_array_equal(decoded.array[:, :, 0].T, alpha > 0)


def test_drawing_on_a_transparent_ground_of_another_colour_is_read(tmp_path: Path) -> None:
    ground, red = np.full((8, 8, 4), (255, 255, 255, 0), np.uint8), (255, 0, 0, 255)
    ground[2:5] = red
    Pillow.fromarray(ground).save(tmp_path / "a.png")
    palette = Palette((PaletteEntry(0, "background", (255, 255, 255)), PaletteEntry(1, "artery", (255, 0, 0))))
    assert LabelCoding("colours", palette).decode(read_image(tmp_path / "a.png")).array.sum() == 24


def test_values_drawn_by_transparency_are_refused(tmp_path: Path) -> None:
    alpha = np.zeros((8, 8), np.uint8)
    alpha[2:5] = 255
    Pillow.fromarray(np.dstack([np.ones((8, 8), np.uint8), alpha])).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="40 of its pixels are transparent and have the colour of visible ones"):
        LabelCoding().decode(read_image(tmp_path / "a.png"))


def test_bright_label_of_one_class_may_have_shades() -> None:
    assert LabelCoding("white").decode(picture(squares((254, 254, 254), (255, 255, 255)))).array.all()
    assert (LabelCoding("colours", THREE).decode(picture(squares((254, 0, 0), (255, 0, 0)))).array == 1).all()


def test_real_colours_saved_as_jpeg_are_mapped_with_a_tolerance(tmp_path: Path, data_dir: Path) -> None:
    folder = data_dir / "blood_cells_rgb"
    palette = Palette.from_csv(folder / "palette.csv")
    path = sorted((folder / "labels").iterdir())[0]
    truth = labels_from_picture(read_image(path), palette=palette).array
    with Pillow.open(path) as label:
        label.save(tmp_path / "a.jpg", quality=90)
    mapped = labels_from_picture(read_image(tmp_path / "a.jpg"), palette=palette, tolerance=32)
    assert (mapped.array != truth).mean() < 0.005
    assert "off the palette" in mapped.warnings[0]


# Masks


@pytest.mark.parametrize(("high", "dtype"), [(1, np.uint8), (255, np.uint8), (65535, np.uint16), (255, np.uint16)])
def test_masks_of_any_white(high: int, dtype: type) -> None:
    truth = np.zeros((20, 20, 1), bool)
    truth[4:9] = True
    mask = np.where(truth, high, 0).astype(dtype)
    np.testing.assert_array_equal(mask_labels(picture(mask)).array, truth)
    np.testing.assert_array_equal(mask_labels(picture(mask), foreground="black").array, ~truth)
    np.testing.assert_array_equal(mask_labels(picture(np.stack([mask] * 3, -1))).array, truth)


def test_mask_saved_as_jpeg_is_cut_at_half(tmp_path: Path) -> None:
    truth = np.zeros((64, 64), np.uint8)
    truth[10:30, 17:50] = 255
    Pillow.fromarray(truth).save(tmp_path / "a.jpg", quality=60)
    image = mask_labels(read_image(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(image.array[:, :, 0].T, truth > 0)


@pytest.mark.parametrize("values", [(0, 7), (0, 1, 2), (3, 50)])
def test_class_values_are_no_mask_that_is_all_black(values: tuple[int, ...]) -> None:
    areas = np.repeat(np.array(values, np.uint8), 36).reshape(-1, 6, 1)
    with pytest.raises(ImageError, match=r"a\.png: .* fill areas and would be one class; are these .* coding 'values'"):
        mask_labels(picture(areas))
    assert not mask_labels(picture(np.zeros((8, 8, 1), np.uint8))).array.any()
    stray = np.zeros((8, 8, 1), np.uint8)
    stray[1, 2] = stray[5, 5] = 9
    assert not mask_labels(picture(stray)).array.any(), "a blend is no area"


def test_three_greys_are_no_mask() -> None:
    with pytest.raises(ImageError, match=r"\(128, 128, 128\) fills areas"):
        mask_labels(picture(squares((0, 0, 0), (128, 128, 128), (255, 255, 255))[..., 0]))


# Discovery


def test_areas_are_discovered_and_blends_are_not() -> None:
    rng = np.random.default_rng(0)
    colours = squares((0, 0, 0), (0, 0, 0), (0, 0, 255), (255, 0, 0), (255, 0, 0))
    for edge in (39, 59):
        colours[edge, :] = rng.integers(0, 256, (20, 1, 3))
    found = discover_palette([picture(colours)])
    assert [(each.value, each.name, each.colour) for each in found.entries] == [
        (0, "background", (0, 0, 0)),
        (1, "class 1", (255, 0, 0)),
        (2, "class 2", (0, 0, 255)),
    ]


def test_most_frequent_colour_is_the_background_where_there_is_no_black() -> None:
    found = discover_palette([picture(squares((255, 255, 255), (255, 255, 255), (9, 9, 9)))])
    assert found.entries[0] == PaletteEntry(0, "background", (255, 255, 255))


def test_photographs_and_nothing_have_no_palette() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 1, 3), np.uint8)
    for images in ([picture(noise)], []):
        with pytest.raises(ImageError, match="0 colours fill areas"):
            discover_palette(images)


# Tables


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "lines",
    [
        ("name,r,g,b", "background,0,0,0", "artery,255,0,0"),
        ("\ufeffname;R;G;B", "background;0;0;0", "artery;255;0;0"),
        ("# of our eyes", "value,name,colour", "0,background,#000000", "", "1,artery,#FF0000"),
        ("name\thex", "background\t000000", '"artery"\tff0000'),
        ("name, red, green, blue", "background, 0, 0, 0", "artery, 255, 0, 0"),
    ],
)
def test_tables_in_every_spelling(tmp_path: Path, lines: tuple[str, ...]) -> None:
    palette = Palette.from_csv(write(tmp_path / "p.csv", *lines))
    assert palette.entries == (PaletteEntry(0, "background", (0, 0, 0)), PaletteEntry(1, "artery", (255, 0, 0)))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "an empty palette"),
        (("background,0,0,0",), "line 1: no columns of a palette; expected a first line such as"),
        (("name,r,g,b", "background,0,0"), "line 2: too few columns"),
        (("name,r,g,b", "background,0,0,black"), "line 2: too few columns, or no number"),
        (("name,r,g,b", "background,0,0,0", "artery,256,0,0"), "line 3: no colour from 0 to 255"),
        (("name,colour", "background,#00000"), "line 2: no colour"),
        (("name,r,g,b", "artery,255,0,0"), "line 2: 'artery' would be the background"),
        (("value,name,r,g,b", "1,a,0,0,0", "1,b,9,9,9"), "value 1 stands for two classes"),
        (("name,r,g,b", "background,0,0,0", "b,0,0,0"), r"colour \(0, 0, 0\) stands for two"),
        (("name,r,g,b",), "a palette without colours"),
    ],
)
def test_wrong_tables_are_named_with_the_line(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(ImageError, match=rf"p\.csv: [^\n]*{message}[^\n]*$"):
        Palette.from_csv(write(tmp_path / "p.csv", *lines))


def test_missing_and_binary_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"p\.csv: no palette that can be read"):
        Palette.from_csv(tmp_path / "p.csv")
    (tmp_path / "p.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ImageError, match=r"p\.csv: no palette that can be read"):
        Palette.from_csv(tmp_path / "p.csv")


def test_table_comes_back(tmp_path: Path) -> None:
    THREE.to_csv(tmp_path / "p.csv")
    assert Palette.from_csv(tmp_path / "p.csv") == THREE


def test_palette_of_classes_has_a_background_and_no_colour_twice() -> None:
    palette = Palette.from_classes([LabelClass(1, "a", (9, 9, 9)), LabelClass(2, "b"), LabelClass(3, "c")])
    assert palette.entries[:2] == (PaletteEntry(0, "background", (0, 0, 0)), PaletteEntry(1, "a", (9, 9, 9)))
    assert len({each.colour for each in palette.entries}) == 4


# Real labels


def labels_of(folder: Path) -> list[Image]:
    return [read_image(path) for path in sorted((folder / "labels").iterdir())]


@pytest.mark.parametrize("name", ["blood_cells_rgb", "retina_av_rgb"])
def test_palettes_of_real_labels_are_discovered(data_dir: Path, name: str) -> None:
    images = labels_of(data_dir / name)
    known = {each.colour for each in Palette.from_csv(data_dir / name / "palette.csv").entries}
    packed = {value for each in images for value in np.unique(each.array @ [65536, 256, 1]).tolist()}
    occurring = {(value >> 16, value >> 8 & 255, value & 255) for value in packed}
    assert {each.colour for each in discover_palette(images).entries} == known & occurring


def test_blood_cells_are_mapped_and_their_blends_counted(data_dir: Path) -> None:
    palette = Palette.from_csv(data_dir / "blood_cells_rgb" / "palette.csv")
    exact = total = 0
    for image in labels_of(data_dir / "blood_cells_rgb"):
        labels = labels_from_picture(image, palette=palette)
        colours = picture_from_labels(labels.array, palette=palette)
        same = (colours == image.array).all(axis=-1)
        exact, total = exact + int(same.sum()), total + same.size
        off = int((~same).sum())
        assert labels.warnings[0].startswith(f"{off} pixels") if off else labels.warnings == ()
    assert round(100 * exact / total, 1) == 99.4


def test_artery_and_vein_have_no_pixel_off(data_dir: Path) -> None:
    palette = Palette.from_csv(data_dir / "retina_av_rgb" / "palette.csv")
    for image in labels_of(data_dir / "retina_av_rgb"):
        labels = labels_from_picture(image, palette=palette)
        np.testing.assert_array_equal(picture_from_labels(labels.array, palette=palette), image.array)


def test_real_masks_are_zero_and_one(data_dir: Path) -> None:
    cells = labels_of(data_dir / "em_membrane")[0]
    interior = mask_labels(cells).array
    assert 0.7 < interior.mean() < 0.85
    np.testing.assert_array_equal(mask_labels(cells, foreground="black").array, 1 - interior)
    for folder in ("us_busi", "cxr_lung", "brain_lgg"):
        for image in labels_of(data_dir / folder):
            mask = mask_labels(image)
            first = image.array if image.array.ndim == 3 else image.array[..., 0]
            np.testing.assert_array_equal(mask.array, first > 0)
    observer = read_image(data_dir / "drive" / "test" / "labels_2nd_observer" / "01.gif")
    np.testing.assert_array_equal(mask_labels(observer).array, observer.array > 99)


def test_stray_greys_of_real_cells_go_to_the_nearest(data_dir: Path) -> None:
    greys = (("background", 0), ("cytoplasm", 128), ("nucleus", 255))
    palette = Palette(tuple(PaletteEntry(n, name, (grey,) * 3) for n, (name, grey) in enumerate(greys)))
    image = read_image(data_dir / "wbc_2" / "labels" / "034.png")
    labels = labels_from_picture(image, palette=palette)
    np.testing.assert_array_equal(labels.array, np.round(image.array / 127.5))
    assert "97 pixels" in labels.warnings[0]
