"""Pieces of a structure, counted slab by slab."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label

from medseg.inference.postprocessing.components import component_sizes


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
