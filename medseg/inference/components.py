"""Connected components of label maps, changed in place: largest, smallest, holes, neighbours.

Label maps are `(i, j, k)` or `(i, j)` of any integer type and memory layout; 0 is the background. A structure is
a tuple of class values that count as one. Voxels hang together by faces (6 neighbours, 4 in a picture); an axis of
length 1 does not count as one, so a volume one slice thick is a picture. Beyond the label map a structure takes its
own bounding box: a mask (1 byte per voxel) and the components' numbers (2 or 4); the rest is done slab by slab.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Labels = NDArray[np.integer[Any]]
Values = Sequence[int]
Box = tuple[slice, ...]

_SLAB_VOXELS = 1 << 22
_ROUNDED = 1 + 1e-6  # spacings come from float32 headers


def keep_largest(labels: Labels, values: Values) -> None:
    """Remove all of a structure but its component of most voxels; of several the one whose first (i, j, k) is least."""
    labels = _without_thin_axes(labels)
    for box in _box(labels, values):
        numbers, sizes = _numbered(_mask(labels[box], values))
        largest = np.flatnonzero(sizes == sizes.max())
        remove = np.ones(len(sizes), np.bool_)
        remove[[0, largest[0] if len(largest) == 1 else _first(numbers, largest)]] = False
        _remove(labels[box], numbers, remove)


def remove_small(labels: Labels, values: Values, smallest: int) -> None:
    """Remove a structure's components of fewer than `smallest` voxels."""
    labels = _without_thin_axes(labels)
    for box in _box(labels, values) if smallest > 1 else ():
        numbers, sizes = _numbered(_mask(labels[box], values))
        remove = sizes < smallest
        remove[0] = False
        _remove(labels[box], numbers, remove)


def fill_holes(labels: Labels, values: Values) -> None:
    """Give the background in a structure's holes the structure's first value; other classes in them stay.

    A hole is a component of what is not the structure that does not reach the border of the label map.
    """
    labels = _without_thin_axes(labels)
    for box in _box(labels, values):
        inside = labels[box]
        numbers, sizes = _numbered(~_mask(inside, values))
        hole = np.ones(len(sizes), np.bool_)
        hole[0] = False
        for axis in range(inside.ndim):
            for end in (0, -1):
                hole[np.unique(numbers.take(end, axis))] = False
        if not hole.any():
            continue
        for slab in _slabs(numbers):
            inside[slab][hole[numbers[slab]] & (inside[slab] == 0)] = values[0]


def keep_beside(
    labels: Labels, values: Values, others: Values, *, margin: float = 0, spacing: Sequence[float] = ()
) -> None:
    """Remove a structure's components that neither share a face with one of `others` nor lie within a margin.

    Args:
        labels: see above.
        values: of the structure.
        others: class values, none of them in `values`.
        margin: largest distance between the centres of two voxels, in the unit of `spacing`; 0 for faces only.
        spacing: between the centres of neighbours along each axis of `labels`; only for a margin.
    """
    reach = [1] * labels.ndim
    if margin > 0:
        reach = [math.ceil(margin * _ROUNDED / each) for each in spacing]
    reach, spacing = (np.delete(each, _thin_axes(labels)).tolist() for each in (reach, spacing or reach))
    labels = _without_thin_axes(labels)
    for tight in _box(labels, values):
        box = _grown(tight, reach, labels.shape)
        numbers, sizes = _numbered(_mask(labels[box], values))
        remove = np.ones(len(sizes), np.bool_)
        remove[_touching(numbers, _mask(labels[box], others))] = False
        remove[0] = False
        for number, own in _boxes(numbers, remove) if margin > 0 else ():
            near = _grown(own, reach, numbers.shape)
            distance = _distance(numbers[near] == number, _mask(labels[box][near], others), spacing)
            remove[number] = distance > margin * _ROUNDED
        _remove(labels[box], numbers, remove)


def _thin_axes(labels: Labels) -> tuple[int, ...]:
    thin = [axis for axis, length in enumerate(labels.shape) if length == 1]
    return tuple(thin[: labels.ndim - 2])


def _without_thin_axes(labels: Labels) -> Labels:
    """A view."""
    return labels.squeeze(_thin_axes(labels))


def _mask(labels: Labels, values: Values) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = labels == values[0]
    for value in values[1:]:
        mask |= labels == value
    return mask


def _slabs(array: NDArray[Any]) -> Iterator[Box]:
    """Parts of an array of some million voxels each, cut across the axis along which it lies in memory."""
    axis = int(np.argmax(np.abs(array.strides)))
    thickness = max(1, _SLAB_VOXELS * array.shape[axis] // array.size)
    for start in range(0, array.shape[axis], thickness):
        yield (*[slice(None)] * axis, slice(start, start + thickness))


def _box(labels: Labels, values: Values) -> Iterator[Box]:
    """The bounding box of a structure; none where it is not there."""
    seen = [np.zeros(length, np.bool_) for length in labels.shape]
    for slab in _slabs(labels):
        mask = _mask(labels[slab], values)
        for axis, along in enumerate(seen):
            part = slab[axis] if axis < len(slab) else slice(None)
            along[part] |= mask.any(axis=tuple(each for each in range(mask.ndim) if each != axis))
    ends = [np.flatnonzero(along) for along in seen]
    if all(len(along) for along in ends):
        yield tuple(slice(int(along[0]), int(along[-1]) + 1) for along in ends)


def _grown(box: Box, by: Sequence[int], shape: Sequence[int]) -> Box:
    return tuple(
        slice(max(0, each.start - more), min(length, each.stop + more))
        for each, more, length in zip(box, by, shape, strict=True)
    )


def _numbered(mask: NDArray[np.bool_]) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]]:
    """The components' numbers, 0 outside of the mask, and how many voxels have each."""
    faces: Literal[4, 6] = 6 if mask.ndim == 3 else 4
    numbers, count = cc3d.connected_components(mask, connectivity=faces, return_N=True, binary_image=True)
    sizes = np.zeros(count + 1, np.int64)
    for slab in _slabs(numbers):
        sizes += np.bincount(numbers[slab].ravel(order="K"), minlength=count + 1)
    sizes[0] = 0
    return numbers, sizes


def _first(numbers: NDArray[Any], candidates: NDArray[Any]) -> int:
    """Which of several components begins first, in the order of (i, j, k) whatever the layout in memory."""
    planes = (plane[np.isin(plane, candidates)] for plane in numbers)
    return int(next(found[0] for found in planes if len(found)))


def _remove(labels: Labels, numbers: NDArray[Any], remove: NDArray[np.bool_]) -> None:
    for slab in _slabs(numbers) if remove.any() else ():
        labels[slab][remove[numbers[slab]]] = 0


def _touching(numbers: NDArray[Any], others: NDArray[np.bool_]) -> NDArray[Any]:
    """The numbers of components that share a face with `others`."""
    found = []
    for axis in range(numbers.ndim):
        low, high = ((*[slice(None)] * axis, part) for part in (slice(None, -1), slice(1, None)))
        found += [np.unique(numbers[low][others[high]]), np.unique(numbers[high][others[low]])]
    return np.concatenate(found)


def _boxes(numbers: NDArray[Any], wanted: NDArray[np.bool_]) -> list[tuple[int, Box]]:
    """The bounding boxes of some of the components."""
    boxes = cc3d.statistics(numbers)["bounding_boxes"]
    return [(int(number), boxes[number][: numbers.ndim]) for number in np.flatnonzero(wanted)]


def _distance(mask: NDArray[np.bool_], others: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """Between the two nearest centres of voxels; infinite where there is nothing to be near to."""
    if not others.any():
        return math.inf
    return float(distance_transform_edt(~others, sampling=spacing)[mask].min())
