"""The colours of single pixels, and which corner is which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from medseg.errors import OutputError
from medseg.pictures import Panel, difference_picture, save_picture
from medseg.pictures.difference import CONFUSED, FALSE_POSITIVE, HIT, MISSED
from medseg.pictures.views import views_of

SHAPE = (7, 5)  # seven columns, five rows


def at(*places: tuple[int, int], value: int = 1) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    for place in places:
        array[place] = value
    return array


def picture_of(label: np.ndarray, segmentation: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    return difference_picture(np.zeros(SHAPE), label, segmentation, mask, legend=False)


def test_hits_misses_and_false_positives_have_their_colours() -> None:
    picture = picture_of(at((1, 0), (2, 0)), at((1, 0), (3, 0)))

    assert picture.shape == (5, 7, 3)
    assert picture.dtype == np.uint8
    assert [tuple(pixel) for pixel in picture[0, 1:4]] == [HIT, MISSED, FALSE_POSITIVE]
    assert np.count_nonzero(picture.any(axis=-1)) == 3


def test_one_class_taken_for_another_is_neither_a_hit_nor_missed() -> None:
    picture = picture_of(at((0, 0), (1, 0), (2, 0), value=2), at((0, 0), value=2) + at((1, 0), value=3))

    assert [tuple(pixel) for pixel in picture[0, :3]] == [HIT, CONFUSED, MISSED]


def test_against_a_boolean_every_class_is_true() -> None:
    picture = picture_of(at((0, 0), value=255), at((0, 0), (1, 0)) == 1)

    assert [tuple(pixel) for pixel in picture[0, :2]] == [HIT, FALSE_POSITIVE]


@pytest.mark.parametrize("corner", [(0, 0), (6, 0), (0, 4), (6, 4)])
def test_a_label_lies_where_a_contact_sheet_shows_it(corner: tuple[int, int]) -> None:
    image, label = np.arange(35.0).reshape(SHAPE), at(corner)

    (view,) = views_of(Panel("corner", image, np.eye(4), label=label))
    picture = difference_picture(image, label, at(), legend=False)

    assert view.label is not None
    np.testing.assert_array_equal((picture == MISSED).all(axis=-1), view.label == 1)


def test_the_image_is_grey_dimmer_than_every_colour_and_turned_as_the_label() -> None:
    image = np.zeros(SHAPE)
    image[6] = 1000.0

    picture = difference_picture(image, at(), at(), legend=False)

    assert (picture[:, 6] == 110).all()
    assert not picture[:, :6].any()


def test_colours_are_shown_by_their_luminance() -> None:
    image = np.zeros((3, 1, 3))
    image[0, 0, 1], image[1, 0, 2] = 255, 255
    nothing = np.zeros((3, 1), bool)

    green, blue, black = difference_picture(image, nothing, nothing, legend=False)[0].astype(int)

    assert green[0] == green[1] == green[2]
    assert green[0] > blue[0] > black[0] == 0


def test_what_the_mask_leaves_out_is_darker_and_does_not_set_the_window() -> None:
    image = np.tile(np.linspace(0, 100, 7)[:, None], (1, 5))
    image[0] = 1e6
    mask = np.ones(SHAPE, bool)
    mask[0] = False

    picture = difference_picture(image, at((0, 1), (1, 1)), at(), mask, legend=False)

    assert tuple(picture[1, 1]) == MISSED
    assert 0 < picture[1, 0].max() < 0.5 * max(MISSED)
    assert picture[0, 0].max() < 0.5 * picture[0, 6].max()
    assert picture[0, 6].max() > 100


def test_nothing_to_find_and_nothing_found_is_the_image() -> None:
    picture = difference_picture(np.arange(35.0).reshape(SHAPE), at(), at(), legend=False)

    assert (picture == picture[..., :1]).all()


@pytest.mark.parametrize("value", [0.0, -7.0, np.nan])
def test_an_even_or_undefined_image_is_black(value: float) -> None:
    assert not difference_picture(np.full(SHAPE, value), at(), at(), legend=False).any()


def test_undefined_pixels_are_black_and_leave_the_others_alone() -> None:
    image = np.arange(35.0).reshape(SHAPE)
    image[0, 0], image[0, 1], image[0, 2] = np.nan, np.inf, -np.inf

    picture = difference_picture(image, at(), at(), legend=False)

    assert [int(picture[row, 0, 0]) for row in range(3)] == [0, 110, 0]


def test_nothing_inside_the_mask_is_no_error() -> None:
    picture = picture_of(at((0, 0)), at(), np.zeros(SHAPE, bool))

    assert 0 < picture[0, 0].max() < 0.5 * max(MISSED)


def test_the_legend_stands_below_and_leaves_the_pixels_alone() -> None:
    image, label, segmentation = np.arange(35.0).reshape(SHAPE), at((0, 0)), at((1, 1))

    plain = difference_picture(image, label, segmentation, legend=False)
    named = difference_picture(image, label, segmentation)

    np.testing.assert_array_equal(named[:5, :7], plain)
    assert not named[:5, 7:].any()
    assert [colours_in(named[5:], colour) for colour in (HIT, MISSED, FALSE_POSITIVE, CONFUSED)] == [100, 100, 100, 0]


def test_a_wide_image_keeps_its_width_and_has_the_legend_on_one_line() -> None:
    nothing = np.zeros((500, 20), np.uint8)
    labels = nothing.copy()
    labels[0, :2] = 1, 2

    picture = difference_picture(nothing, labels, nothing)

    assert picture.shape == (44, 500, 3)
    assert colours_in(picture[20:], CONFUSED) == 100


def colours_in(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=-1).sum())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"segmentation \(5, 7\) and image \(7, 5\) differ in shape"):
        difference_picture(np.zeros(SHAPE), at(), at().T)
    with pytest.raises(ValueError, match=r"mask \(7, 4\) and image \(7, 5\) differ"):
        difference_picture(np.zeros((*SHAPE, 3)), at(), at(), np.ones((7, 4), bool))
    with pytest.raises(ValueError, match=r"shape \(7, 5, 4\), not \(i, j\) or \(i, j, 3\)"):
        difference_picture(np.zeros((*SHAPE, 4)), at(), at())
    with pytest.raises(ValueError, match="label is float64, neither boolean nor integer"):
        difference_picture(np.zeros(SHAPE), at() * 0.5, at())
    with pytest.raises(ValueError, match="mask is uint8, not boolean"):
        difference_picture(np.zeros(SHAPE), at(), at(), at())


def test_saved_pixels_come_back(tmp_path: Path) -> None:
    picture = difference_picture(np.arange(35.0).reshape(SHAPE), at((0, 0)), at((1, 1)))

    save_picture(picture, tmp_path / "pictures" / "difference.png")

    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["difference.png"]
    with Pillow.open(tmp_path / "pictures" / "difference.png") as saved:
        np.testing.assert_array_equal(np.asarray(saved), picture)


def test_a_place_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match="cannot be written"):
        save_picture(np.zeros((2, 2, 3), np.uint8), tmp_path / "file" / "difference.png")
