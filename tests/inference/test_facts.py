"""What one case is like, in the directions of the patient, whatever way its voxels are stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.images import Geometry
from medseg.inference.quality.facts import CaseFacts
from medseg.inference.scan import Scan

NAMES = {1: "liver", 3: "spleen"}


def scan_of(array: np.ndarray, affine: np.ndarray | None = None, *, dims: int = 3, modality: str = "") -> Scan:
    geometry = Geometry(array.shape, np.eye(4) if affine is None else affine)
    return Scan(array[None].astype(np.float32), geometry, dims, "NIfTI", modality, ())


def box(shape: Sequence[int], *corners: tuple[int, int], value: int = 1) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(*corner) for corner in corners)] = value
    return labels


@given(order=st.permutations([0, 1, 2]), flips=st.tuples(*[st.booleans()] * 3))
def test_facts_do_not_depend_on_the_order_and_direction_of_the_axes(
    order: list[int], flips: tuple[bool, bool, bool]
) -> None:
    array = np.random.default_rng(0).normal(size=(6, 7, 8))
    labels = box((6, 7, 8), (0, 3), (2, 5), (6, 8))
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    expected = CaseFacts.of(scan_of(array, affine), labels, NAMES)
    turned, turned_labels = array.transpose(order), labels.transpose(order)
    turned_affine = affine[:, [*order, 3]]
    for axis, flip in enumerate(flips):
        if flip:
            turned_affine[:, 3] += turned_affine[:, axis] * (turned.shape[axis] - 1)
            turned_affine[:, axis] *= -1
            turned, turned_labels = np.flip(turned, axis), np.flip(turned_labels, axis)
    found = CaseFacts.of(scan_of(turned, turned_affine), turned_labels, NAMES)
    assert found.spacing == pytest.approx((1, 2, 3)) and found.extent == pytest.approx((6, 14, 24))
    assert found.intensities == expected.intensities
    assert set(found.classes["liver"].sides) == set(expected.classes["liver"].sides) == {"left", "superior"}
    assert found.classes["liver"].size == pytest.approx(3 * 3 * 2 * 6 / 1000)


def test_specks_are_no_pieces_but_count_in_the_volume() -> None:
    labels = box((20, 20, 20), (2, 10), (2, 10), (2, 10)) + box((20, 20, 20), (15, 18), (15, 18), (15, 18))
    labels[0, 0, 0] = 1
    facts = CaseFacts.of(scan_of(labels), labels, NAMES).classes["liver"]
    assert facts.components == 2 and facts.size == pytest.approx((512 + 27 + 1) / 1000)


def test_class_that_is_not_there_and_value_that_is_no_class_are_left_out() -> None:
    labels = box((5, 5, 5), (1, 3), (1, 3), (1, 3), value=2) + box((5, 5, 5), (3, 4), (3, 4), (3, 4), value=3)
    assert set(CaseFacts.of(scan_of(labels), labels, NAMES).classes) == {"spleen"}


def test_single_slice_has_no_sides_to_touch() -> None:
    labels = box((9, 9, 1), (3, 5), (3, 5), (0, 1))
    assert CaseFacts.of(scan_of(labels), labels, NAMES).classes["liver"].sides == ()


def test_picture_has_sides_and_pixels_of_its_own() -> None:
    labels = box((30, 20, 1), (10, 20), (15, 20), (0, 1))
    facts = CaseFacts.of(scan_of(labels, np.diag([0.3, 0.3, 1, 1]), dims=2), labels, NAMES)
    assert (facts.spacing, facts.extent) == ((), (30, 20))
    assert facts.classes["liver"].size == 50 and facts.classes["liver"].sides == ("lower",)


def test_brightness_is_the_rank_in_the_image_whatever_its_scale() -> None:
    array = np.arange(1000.0).reshape(10, 10, 10)
    labels = box((10, 10, 10), (7, 8), (0, 10), (0, 10))
    for scaled in (array, array * 1e4 - 7e5):
        facts = CaseFacts.of(scan_of(scaled), labels, NAMES)
        assert facts.classes["liver"].brightness == pytest.approx((0.75,), abs=0.01)
    facts = CaseFacts.of(scan_of(-array), labels, NAMES)
    assert facts.classes["liver"].brightness == pytest.approx((0.25,), abs=0.01)


def test_intensities_are_the_halfth_fiftieth_and_995th_percentile() -> None:
    array = np.random.default_rng(0).permutation(np.arange(1001.0, 2002)).reshape(7, 11, 13)
    facts = CaseFacts.of(scan_of(array), np.zeros(array.shape, np.uint8), NAMES)
    assert facts.intensities == (pytest.approx((1006, 1501, 1996)),)


def test_brightness_of_a_class_is_that_of_its_median_voxel() -> None:
    """Metal in an organ leaves the organ as bright as it was."""
    array = np.arange(1000.0).reshape(10, 10, 10)
    array[7, 0, :5] = 1e6
    facts = CaseFacts.of(scan_of(array), box((10, 10, 10), (7, 8), (0, 10), (0, 10)), NAMES)
    assert facts.classes["liver"].brightness == pytest.approx((0.75,), abs=0.02)
