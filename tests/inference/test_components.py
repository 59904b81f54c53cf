"""Pieces of a structure, counted slab by slab."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from medseg.inference.postprocessing.components import component_sizes, keep_beside, keep_largest


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.2, 0.35, 0.6]),
)
def test_slabs_give_the_components_of_the_whole(shape: tuple[int, int, int], seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    labels = np.where(random.random(shape) < share, random.integers(1, 4, shape), 0).astype(np.uint8)
    structures: list[tuple[int, ...]] = [(3,), (1, 2)]
    for values, sizes in zip(structures, component_sizes(labels, structures), strict=True):
        numbered, count = label(np.isin(labels, values))
        expected = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
        assert sorted(sizes) == sorted(expected)


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4, 4)])
def test_nothing_has_no_component(shape: tuple[int, int, int]) -> None:
    assert [sizes.tolist() for sizes in component_sizes(np.zeros(shape, np.uint8), [(1,), (2, 3)])] == [[], []]


@pytest.mark.parametrize("order", ["C", "F"])
def test_of_components_of_one_size_in_a_volume_the_first_stays_whatever_the_layout_in_memory(
    order: Literal["C", "F"],
) -> None:
    labels = np.zeros((5, 5, 5), np.uint8, order=order)
    labels[0, 0, 4] = labels[4, 0, 0] = 1
    keep_largest(labels, [(1,)])
    assert np.argwhere(labels).tolist() == [[0, 0, 4]]


def test_what_shares_a_face_stays_though_its_centre_lies_beyond_the_margin() -> None:
    labels = np.zeros((3, 3, 4), np.uint8)
    labels[1, 1, 1], labels[1, 1, 2] = 1, 2
    keep_beside(labels, (2,), (1,), margin=1, spacing=(0.5, 0.5, 5))
    assert labels[1, 1, 2] == 2


def test_component_exactly_as_far_as_the_margin_stays_however_the_spacing_is_rounded() -> None:
    labels = np.zeros((6, 3, 3), np.uint8)
    labels[1, 1, 1], labels[4, 1, 1] = 1, 2
    keep_beside(labels, (2,), (1,), margin=0.3, spacing=[float(np.float32(0.1))] * 3)
    assert labels[4, 1, 1] == 2
