"""Structures drawn plane by plane onto a grid: one label map, or a channel for each where they overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.types import LabelClass


@dataclass(frozen=True, eq=False)
class Plane:
    """Part of a structure: `mask` (bool) lies on the voxels `where` (an index such as `np.ix_` makes)."""

    value: int
    where: Any
    mask: NDArray[np.bool_]


def draw(
    planes: Callable[[], Iterator[Plane]], shape: tuple[int, int, int], classes: Sequence[LabelClass]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The structures as a label map `(i, j, k)`; where they overlap, as 0 and 1 in `(i, j, k, channel)`.

    Channels are in the order of `classes`; a warning names the structures that overlap.
    """
    kind = np.uint8 if max((each.value for each in classes), default=0) <= 255 else np.uint16
    labels = np.zeros(shape, kind)
    overlaps: set[tuple[int, int]] = set()
    for plane in planes():
        there = labels[plane.where]
        others = np.unique(there[plane.mask & (there > 0) & (there != plane.value)])
        overlaps.update((int(other), plane.value) for other in others)
        there[plane.mask] = plane.value
        labels[plane.where] = there
    if not overlaps:
        return labels, ()
    channel = {each.value: index for index, each in enumerate(classes)}
    channels = np.zeros((*shape, len(classes)), np.uint8)
    for plane in planes():
        volume = channels[..., channel[plane.value]]
        volume[plane.where] |= plane.mask
    names = {each.value: each.name for each in classes}
    pairs = ", ".join(sorted(f"'{names[one]}' and '{names[other]}'" for one, other in overlaps))
    return channels, (f"structures overlap ({pairs}), so each has a channel of its own",)
