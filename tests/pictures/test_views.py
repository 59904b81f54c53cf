"""Which slices are shown, and which way round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from medseg.pictures.views import Panel, View, views_of

SPACING = (1.0, 2.0, 3.0)


def blob(shape: tuple[int, ...], *places: tuple[int, ...], value: int = 1) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    for place in places:
        label[place] = value
    return label


def ras_affine() -> np.ndarray:
    return np.diag([*SPACING, 1.0])


def panel_with_marks() -> Panel:
    """A volume in RAS order with one mark at each end of each axis, all in the planes of one voxel."""
    shape, (x, y, z) = (9, 11, 7), (4, 5, 3)
    image = np.zeros(shape)
    for value, place in enumerate([(0, y, z), (8, y, z), (x, 0, z), (x, 10, z), (x, y, 0), (x, y, 6)], start=1):
        image[place] = value
    return Panel("marks", image, ras_affine(), label=blob(shape, (x, y, z)))


LEFT, RIGHT, POSTERIOR, ANTERIOR, INFERIOR, SUPERIOR = 1, 2, 3, 4, 5, 6


def edges(view: View) -> tuple[float, float, float, float]:
    """The values in the middle of the left, right, top and bottom edge."""
    image = view.image
    row, column = image.shape[0] // 2, image.shape[1] // 2
    return image[row, 0], image[row, -1], image[0, column], image[-1, column]


def test_the_patients_right_is_on_the_left_and_front_and_head_are_at_the_top() -> None:
    axial, coronal, sagittal = views_of(panel_with_marks())

    assert edges(axial) == (RIGHT, LEFT, ANTERIOR, POSTERIOR)
    assert edges(coronal) == (RIGHT, LEFT, SUPERIOR, INFERIOR)
    assert edges(sagittal) == (ANTERIOR, POSTERIOR, SUPERIOR, INFERIOR)
    assert [view.letters for view in (axial, coronal, sagittal)] == [
        ("R", "L", "A", "P"),
        ("R", "L", "S", "I"),
        ("A", "P", "S", "I"),
    ]


def test_a_pixel_is_as_wide_and_high_as_the_voxel() -> None:
    axial, coronal, sagittal = views_of(panel_with_marks())

    assert (axial.pixel_mm, coronal.pixel_mm, sagittal.pixel_mm) == ((1, 2), (1, 3), (2, 3))
    assert axial.size_mm == (9, 22)


@given(
    order=st.permutations(["RL", "AP", "SI"]),
    flips=st.tuples(*[st.integers(0, 1)] * 3),
)
def test_the_stored_orientation_changes_nothing(order: list[str], flips: tuple[int, int, int]) -> None:
    ras = panel_with_marks()
    codes = tuple(pair[flip] for pair, flip in zip(order, flips, strict=True))
    turn = ornt_transform(io_orientation(ras.affine), axcodes2ornt(codes))
    stored = Panel(
        "stored",
        apply_orientation(ras.image, turn),
        ras.affine @ inv_ornt_aff(turn, ras.image.shape),
        label=apply_orientation(ras.label, turn),
    )

    for expected, view in zip(views_of(ras), views_of(stored), strict=True):
        np.testing.assert_array_equal(view.image, expected.image)
        np.testing.assert_array_equal(view.label, expected.label)
        assert view.pixel_mm == pytest.approx(expected.pixel_mm)


def test_slices_go_through_the_structures_not_between_them() -> None:
    kidneys = blob((9, 9, 9), (1, 4, 2), (7, 4, 2))

    views = views_of(Panel("kidneys", np.zeros((9, 9, 9)), ras_affine(), label=kidneys))

    assert [int(view.label.sum()) for view in views if view.label is not None] == [2, 2, 1]


def test_a_small_class_counts_as_much_as_a_large_one() -> None:
    label = np.zeros((9, 9, 9), np.uint8)
    label[:, :, 0] = 1
    label[:, :, 1:3] = 1
    label[4, 4, 2] = 2

    axial = views_of(Panel("two", np.zeros((9, 9, 9)), ras_affine(), label=label))[0]

    assert axial.label is not None
    assert set(np.unique(axial.label)) == {1, 2}


def test_of_equal_slices_the_middle_one_is_shown() -> None:
    image = np.zeros((5, 5, 5)) + np.arange(5)
    nothing = np.zeros((5, 5, 5), np.uint8)

    for label in (np.ones_like(nothing), nothing, None):
        axial = views_of(Panel("even", image, np.eye(4), label=label))[0]
        assert (axial.image == 2).all()


def test_an_empty_label_leaves_the_choice_to_the_segmentation() -> None:
    shape = (5, 5, 5)
    image = np.zeros(shape) + np.arange(5)

    axial = views_of(Panel("missed", image, np.eye(4), label=blob(shape), segmentation=blob(shape, (0, 0, 4))))[0]

    assert (axial.image == 4).all()


def test_a_2d_image_is_shown_as_it_is_stored() -> None:
    image = np.arange(6.0).reshape(3, 2)

    (view,) = views_of(Panel("photo", image, np.diag([0.5, 0.25, 1.0, 1.0])))

    assert view.image.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert view.pixel_mm == (0.5, 0.25)
    assert view.letters is None


def test_the_window_of_a_ct_with_much_air_shows_the_soft_tissue() -> None:
    rng = np.random.default_rng(0)
    image = np.where(np.arange(30)[:, None, None] < 15, -1000.0, 3000.0) + np.zeros((30, 20, 20))
    label = np.zeros(image.shape, np.uint8)
    label[13:17, 5:15, 5:15] = 1
    image[label == 1] = rng.normal(50, 20, int(label.sum()))

    low, high = views_of(Panel("ct", image, np.eye(4), label=label))[0].window

    assert -200 < low < 0
    assert 100 < high < 300


def test_an_even_structure_does_not_narrow_the_window() -> None:
    image = np.linspace(0, 100, 10_000).reshape(100, 100)
    label = blob(image.shape, (50, 50))

    low, high = views_of(Panel("dot", image, np.eye(4), label=label))[0].window

    assert (low, high) == pytest.approx((1, 99), abs=0.1)


def test_without_structures_the_window_leaves_out_rare_values() -> None:
    image = np.linspace(0, 100, 10_000).reshape(100, 100)
    image[0, 0] = 1e6

    low, high = views_of(Panel("mr", image, np.eye(4)))[0].window

    assert (low, high) == pytest.approx((1, 99), abs=0.1)


@pytest.mark.parametrize("value", [0.0, 7.0, -1000.0, np.nan])
def test_a_constant_or_undefined_image_has_a_window(value: float) -> None:
    low, high = views_of(Panel("flat", np.full((4, 4), value), np.eye(4)))[0].window

    assert low < high


def test_a_given_window_is_kept() -> None:
    assert views_of(Panel("ct", np.zeros((4, 4)), np.eye(4), window=(-160, 240)))[0].window == (-160, 240)


def test_arrays_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"segmentation \(3, 4\) and image \(4, 4\) differ"):
        Panel("bad", np.zeros((4, 4)), np.eye(4), segmentation=np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"not 2D or 3D"):
        Panel("rgb stack", np.zeros((4, 4, 4, 3)), np.eye(4))
