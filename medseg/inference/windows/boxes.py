"""Boxes of voxels, to index tensors with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Box = tuple[slice, ...]


def box_at(start: Sequence[int], size: Sequence[int]) -> Box:
    """The box of `size` voxels that begins at `start`."""
    return tuple(slice(first, first + length) for first, length in zip(start, size, strict=True))


def all_channels(box: Iterable[slice]) -> Box:
    """The same box in a tensor `(C, spatial...)`."""
    return (slice(None), *box)


def seen_from(box: Iterable[slice], start: Sequence[int]) -> Box:
    """The same box in a tensor that begins at voxel `start`."""
    return tuple(slice(each.start - first, each.stop - first) for each, first in zip(box, start, strict=True))


def within(box: Iterable[slice], size: Sequence[int]) -> Box:
    """What of a box lies in an image of `size` voxels."""
    return tuple(slice(max(each.start, 0), min(each.stop, length)) for each, length in zip(box, size, strict=True))
