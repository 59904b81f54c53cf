"""Windows larger than those a network was trained with: as few of them as the memory allows, each voxel from one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

from medseg.inference.windows.boxes import Box, box_at


@dataclass(frozen=True)
class Tiling:
    """Windows of one size whose inner parts lie side by side.

    Every voxel is taken from one window, in which it lies at least a margin away from every face that is not the
    image's. All windows begin at multiples of one step, so that the poolings of a network fall on the same voxels in
    each of them.

    Attributes:
        before: voxels padded before the image, per axis.
        size: of the padded image.
        window: of every window.
        starts: the first voxels of the windows in the padded image, ascending, per axis.
    """

    before: tuple[int, ...]
    size: tuple[int, ...]
    window: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def over(
        cls, image: Sequence[int], smallest: Sequence[int], *, margin: Sequence[int], step: int, most_voxels: float
    ) -> Tiling:
        """The windows of at most `most_voxels` that cover an image with little work.

        Args:
            image: its size.
            smallest: window, each side a multiple of `step`; an image that is smaller is padded to it on both sides,
                others behind to a multiple of `step`. It is taken even where it has too many voxels.
            margin: voxels that a window sees on either side beyond what is taken from it, per axis; multiples of
                half the step, and together less than `smallest`.
            step: what every side of a window is a multiple of.
            most_voxels: of a window.
        """
        axes = [
            _Axis(max(_up(length, step), least), least, edge, step)
            for length, least, edge in zip(image, smallest, margin, strict=True)
        ]
        while math.prod(axis.window for axis in axes) > most_voxels:
            cuts = {place: cut for place, axis in enumerate(axes) if (cut := axis.cut()) is not None}
            if not cuts:
                break
            best = min(cuts, key=lambda place: cuts[place].price / axes[place].price)
            axes[best] = cuts[best]
        return cls(
            tuple(max(0, axis.smallest - length) // 2 for axis, length in zip(axes, image, strict=True)),
            tuple(axis.size for axis in axes),
            tuple(axis.window for axis in axes),
            tuple(axis.starts for axis in axes),
        )

    def __len__(self) -> int:
        return math.prod(map(len, self.starts))

    def boxes(self) -> Iterator[tuple[Box, Box]]:
        """Every window, and what is taken from it, in the padded image."""
        cores = [_cores(*axis) for axis in zip(self.starts, self.window, self.size, strict=True)]
        for start, core in zip(product(*self.starts), product(*cores), strict=True):
            yield box_at(start, self.window), core


@dataclass(frozen=True)
class _Axis:
    """One axis of a tiling with `count` windows."""

    size: int
    smallest: int
    margin: int
    step: int
    count: int = 1

    @property
    def window(self) -> int:
        shared = 2 * self.margin * (self.count - 1)
        return max(self.smallest, _up(math.ceil((self.size + shared) / self.count), self.step))

    @property
    def price(self) -> int:
        """What is computed times what is held at a time."""
        return len(self.starts) * self.window * self.window

    @property
    def starts(self) -> tuple[int, ...]:
        last = self.size - self.window
        stride = self.window - 2 * self.margin
        return (*range(0, last, stride), last)

    def cut(self) -> _Axis | None:
        """The same with shorter windows; None if there are none."""
        if self.window <= self.smallest:
            return None
        more = replace(self, count=self.count + 1)
        return more if more.window < self.window else more.cut()


def _cores(starts: Sequence[int], window: int, size: int) -> list[slice]:
    """What is taken from each window: up to the middle of what it shares with the next."""
    middles = [(following + start + window) // 2 for start, following in pairwise(starts)]
    return [slice(begin, end) for begin, end in pairwise([0, *middles, size])]


def _up(length: int, step: int) -> int:
    return math.ceil(length / step) * step
