"""Connected components of label maps, changed in place: largest, smallest, holes, neighbours.

Label maps are `(i, j, k)` or `(i, j)` of any integer type and memory layout; 0 is the background. A structure is
a tuple of class values that count as one. Voxels hang together by faces (6 neighbours, 4 in a picture); an axis of
length 1 does not count as one, so a volume one slice thick is a picture. Beyond the label map a structure takes its
own bounding box: a mask (1 byte per voxel) and the components' numbers (2 or 4); the rest is done slab by slab.
Structures that share no class are done in one go, others one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from medseg.class_boxes import Box, structure_box

Labels = NDArray[np.integer[Any]]
Values = tuple[int, ...]

_SLAB_VOXELS = 1 << 22
_FEW = 4  # values are compared one by one; more are looked up
_ROUNDED = 1 + 1e-6  # spacings come from float32 headers


def keep_largest(labels: Labels, structures: Sequence[Values]) -> None:
    """Remove all of each structure but its component of most voxels; of several the one with the least (i, j, k)."""
    labels = _without_thin_axes(labels)
    for run in _disjoint(structures):
        together = [structures[index] for index in run]
        for box in _box(labels, sum(together, ())):
            found = _Components.of(labels[box], together)
            most = np.zeros(len(together) + 1, np.int64)
            np.maximum.at(most, found.owners, found.sizes)
            keep = found.sizes == most[found.owners]
            counts = np.bincount(found.owners[keep], minlength=len(most))
            for owner in np.flatnonzero(counts[1:] > 1) + 1:
                tied = np.flatnonzero(keep & (found.owners == owner))
                keep[tied] = False
                keep[found.first(tied)] = True
            found.remove(labels[box], ~keep)


def remove_small(labels: Labels, structures: Sequence[Values], smallest: Sequence[int]) -> None:
    """Remove each structure's components of fewer than `smallest` voxels."""
    labels = _without_thin_axes(labels)
    for run in _disjoint(structures):
        together = [structures[index] for index in run if smallest[index] > 1]
        least = np.array([0, *(smallest[index] for index in run if smallest[index] > 1)])
        for box in _box(labels, sum(together, ())):
            found = _Components.of(labels[box], together)
            found.remove(labels[box], found.sizes < least[found.owners])


def fill_holes(labels: Labels, values: Values) -> None:
    """Give the background in a structure's holes the structure's first value; other classes in them stay.

    A hole is a component of what is not the structure that does not reach the border of the label map.
    """
    labels = _without_thin_axes(labels)
    for box in _box(labels, values):
        inside = labels[box]
        numbers, count = _numbered(~_mask(inside, values))
        hole = np.ones(count + 1, np.bool_)
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
        found = _Components.of(labels[box], [values])
        numbers = found.numbers
        remove = np.ones(len(found.sizes), np.bool_)
        remove[_touching(numbers, _mask(labels[box], others))] = False
        remove[0] = False
        for number, own in _boxes(numbers, remove) if margin > 0 else ():
            near = _grown(own, reach, numbers.shape)
            distance = _distance(numbers[near] == number, _mask(labels[box][near], others), spacing)
            remove[number] = distance > margin * _ROUNDED
        found.remove(labels[box], remove)


def component_sizes(labels: Labels, structures: Sequence[Values]) -> list[NDArray[np.int64]]:
    """Voxels in every component of each structure, which share no class; empty for one that is not there."""
    labels = _without_thin_axes(labels)
    for box in _box(labels, sum(structures, ())):
        found = _Components.of(labels[box], structures)
        return [found.sizes[found.owners == owner] for owner in range(1, 1 + len(structures))]
    return [np.zeros(0, np.int64)] * len(structures)


@dataclass(frozen=True, eq=False)
class _Components:
    """The components of structures that share no class.

    Attributes:
        numbers: of the components, voxel by voxel; 0 where no structure is.
        sizes: voxels of each component.
        owners: which structure each component belongs to, from 1; 0 for number 0.
    """

    numbers: NDArray[np.unsignedinteger[Any]]
    sizes: NDArray[np.int64]
    owners: NDArray[np.unsignedinteger[Any]]

    @classmethod
    def of(cls, labels: Labels, structures: Sequence[Values]) -> _Components:
        """All structures in one go."""
        groups = _grouped(labels, structures)
        numbers, count = _numbered(groups)
        sizes = np.zeros(count + 1, np.int64)
        owners = np.zeros(count + 1, groups.dtype if len(structures) > 1 else np.uint8)
        owners[1:] = 1
        for slab in _slabs(numbers):
            sizes += np.bincount(numbers[slab].ravel(order="K"), minlength=count + 1)
            if len(structures) > 1:
                owners[numbers[slab]] = groups[slab]
        sizes[0] = 0
        return cls(numbers, sizes, owners)

    def first(self, candidates: NDArray[Any]) -> int:
        """Which of several begins first, in the order of (i, j, k) whatever the layout in memory."""
        planes = (plane[np.isin(plane, candidates)] for plane in self.numbers)
        return int(next(found[0] for found in planes if len(found)))

    def remove(self, labels: Labels, which: NDArray[np.bool_]) -> None:
        """Make some of them background."""
        which = which & (self.owners > 0)
        for slab in _slabs(self.numbers) if which.any() else ():
            labels[slab][which[self.numbers[slab]]] = 0


def _disjoint(structures: Sequence[Values]) -> Iterator[list[int]]:
    """Runs of the indices of structures, in their order, that share no class."""
    run: list[int] = []
    seen: set[int] = set()
    for index, values in enumerate(structures):
        if seen & set(values):
            yield run
            run, seen = [], set()
        run.append(index)
        seen |= set(values)
    yield run


def _grouped(labels: Labels, structures: Sequence[Values]) -> NDArray[Any]:
    """A mask of one structure; of several their numbers, from 1."""
    if len(structures) == 1:
        return _mask(labels, structures[0])
    dtype = np.uint8 if len(structures) < 256 else np.uint16
    return _looked_up(labels, {value: n for n, values in enumerate(structures, start=1) for value in values}, dtype)


def _mask(labels: Labels, values: Values) -> NDArray[np.bool_]:
    if len(values) > _FEW:
        return _looked_up(labels, dict.fromkeys(values, 1), np.bool_)
    mask = np.zeros_like(labels, np.bool_)
    for value in values:
        mask |= labels == value
    return mask


def _looked_up(labels: Labels, table: Mapping[int, int], dtype: Any) -> NDArray[Any]:
    """What the table has for each voxel's class, 0 for what it lacks."""
    found = np.empty_like(labels, dtype)
    for slab in _slabs(labels):
        part = labels[slab]
        every = np.zeros(1 + max(int(part.max()), *table), dtype)
        every[list(table)] = list(table.values())
        found[slab] = every[part]
    return found


def _thin_axes(labels: Labels) -> tuple[int, ...]:
    thin = [axis for axis, length in enumerate(labels.shape) if length == 1]
    return tuple(thin[: labels.ndim - 2])


def _without_thin_axes(labels: Labels) -> Labels:
    """A view."""
    return labels.squeeze(_thin_axes(labels))


def _slabs(array: NDArray[Any]) -> Iterator[Box]:
    """Parts of an array of some million voxels each, cut across the axis along which it lies in memory."""
    axis = int(np.argmax(np.abs(array.strides)))
    thickness = max(1, _SLAB_VOXELS * array.shape[axis] // array.size)
    for start in range(0, array.shape[axis], thickness):
        yield (*[slice(None)] * axis, slice(start, start + thickness))


def _box(labels: Labels, values: Values) -> Iterator[Box]:
    """The bounding box of a structure; none where it is not there."""
    if (box := structure_box(labels, values)) is not None:
        yield box


def _grown(box: Box, by: Sequence[int], shape: Sequence[int]) -> Box:
    return tuple(
        slice(max(0, each.start - more), min(length, each.stop + more))
        for each, more, length in zip(box, by, shape, strict=True)
    )


def _numbered(groups: NDArray[Any]) -> tuple[NDArray[np.unsignedinteger[Any]], int]:
    """The components' numbers, from 1, and how many there are."""
    faces: Literal[4, 6] = 6 if groups.ndim == 3 else 4
    return cc3d.connected_components(groups, connectivity=faces, return_N=True, binary_image=groups.dtype == np.bool_)


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
