"""Samples of large arrays."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.voxel_samples import evenly_spaced, values_inside


@pytest.mark.parametrize("shape", [(3_000_000,), (2000, 3000), (300, 200, 150)])
def test_of_a_large_array_some_are_taken_and_of_a_small_one_all(shape: tuple[int, ...]) -> None:
    large = np.zeros(shape, np.uint8)
    assert 100_000 < evenly_spaced(large).size <= 1 << 20
    small = large[(slice(7),) * large.ndim]
    assert evenly_spaced(small).shape == small.shape


def test_a_structure_that_lies_between_the_samples_is_taken_whole() -> None:
    array, mask = np.zeros((300, 200, 150), np.int16), np.zeros((300, 200, 150), np.bool_)
    array[101, 101, 40:140] = 5
    mask[101, 101, 40:140] = True
    assert values_inside(array, mask).tolist() == [5] * 100
    mask[:] = True
    assert values_inside(array, mask).size == evenly_spaced(array).size


def test_no_channel_is_left_out() -> None:
    photograph = np.zeros((2000, 1500, 1, 3), np.uint8)
    assert evenly_spaced(photograph).shape == (667, 500, 1, 3)
