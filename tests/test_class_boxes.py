"""Bounding boxes of classes."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.ndimage import find_objects

import medseg.class_boxes
from medseg.class_boxes import class_boxes

label_maps = st.sampled_from([np.uint8, np.int16, np.int64]).flatmap(
    lambda dtype: arrays.arrays(
        dtype,
        arrays.array_shapes(min_dims=1, max_dims=3, max_side=9),
        elements=st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 12)),
    )
)


@given(label_maps, st.sampled_from("CF"), st.booleans(), st.sampled_from([1, 40, 1 << 21]))
def test_they_are_those_of_scipy_whatever_the_layout(
    labels: NDArray[np.integer], order: str, is_flipped: bool, slab: int
) -> None:
    labels = np.asarray(labels, order=order)  # type: ignore[call-overload]
    labels = labels[::-1] if is_flipped else labels
    with patch.object(medseg.class_boxes, "_SLAB_VOXELS", slab):
        found = class_boxes(labels)
    assert found == {value: box for value, box in enumerate(find_objects(labels), start=1) if box is not None}


def test_an_empty_label_map_has_none() -> None:
    assert class_boxes(np.zeros((4, 5, 6), np.uint8)) == class_boxes(np.zeros((0, 5), np.uint8)) == {}
