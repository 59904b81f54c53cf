"""Volumes of slices, their order, and a Dice that no mean of slices gives."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from medseg.metrics import Confusion, dice, dice_per_group, stack_groups


def of(pixels: int) -> NDArray[np.bool_]:
    return (np.arange(12) < pixels).reshape(3, 4)


def test_volume_is_scored_and_not_its_slices_by_hand() -> None:
    """2 (6 + 2) / (10 + 10) of one patient; the mean of its slices would be (12/14 + 4/6) / 2."""
    groups = ["a", "b", "a", "b"]
    scores = dice_per_group(groups, [of(8), of(4), of(2), of(0)], [of(6), of(4), of(4), of(3)])
    assert list(scores) == ["a", "b"]
    assert scores["a"] == pytest.approx(2 * (6 + 2) / (10 + 10))
    assert scores["b"] == pytest.approx(2 * 4 / (4 + 7))


def test_slices_keep_their_order_between_those_of_others() -> None:
    stacks = stack_groups(["b", "a", "b"], [of(1), of(2), of(3)])
    assert list(stacks) == ["b", "a"]
    np.testing.assert_array_equal(stacks["b"].sum(axis=(1, 2)), [1, 3])
    assert stacks["a"].shape == (1, 3, 4)


@given(
    masks=npst.arrays(bool, (2, 5, 3, 4)),
    groups=st.lists(st.sampled_from("abc"), min_size=5, max_size=5),
)
def test_dice_of_a_group_is_that_of_its_pooled_pixels(masks: NDArray[np.bool_], groups: list[str]) -> None:
    labels, segmentations = masks
    for group, score in dice_per_group(groups, list(labels), list(segmentations)).items():
        mine = np.array([each == group for each in groups])
        assert score == pytest.approx(dice(labels[mine], segmentations[mine]), nan_ok=True)
        assert score == pytest.approx(Confusion.of(labels[mine], segmentations[mine]).f_score, nan_ok=True)


def test_group_without_label_or_segmentation_has_no_dice() -> None:
    scores = dice_per_group(["a", "b"], [of(0), of(0)], [of(0), of(1)])
    assert isnan(scores["a"]) and scores["b"] == 0


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="slices of a have several shapes"):
        stack_groups(["a", "a"], [of(1), of(1).T])
    with pytest.raises(ValueError, match="of a do not fit"):
        dice_per_group(["a"], [of(1)], [of(1).T])
    with pytest.raises(ValueError):
        stack_groups(["a"], [of(1), of(1)])
