"""Where windows lie on an image, and how much each says of every voxel: MONAI's sliding window, axis by axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from monai.data.utils import compute_importance_map
from torch.nn import functional as F

from medseg.inference.windows.boxes import all_channels, box_at


@dataclass(frozen=True, eq=False)
class WindowGrid:
    """Overlapping windows of one size that cover an image, the same as those of MONAI's `sliding_window_inference`.

    An image smaller than the window is padded to its size; along every axis windows stand at equal steps, the last
    one shifted back so that it ends with the image.

    Attributes:
        before: voxels padded before the image, per axis.
        size: of the padded image.
        window: of every window.
        starts: the first voxels of the windows in the padded image, ascending, per axis.
        weights: of every voxel of a window in the mean of those that overlap: `(window...)`, float32.
    """

    before: tuple[int, ...]
    size: tuple[int, ...]
    window: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    weights: torch.Tensor

    @classmethod
    def over(
        cls,
        image: Sequence[int],
        window: Sequence[int],
        overlap: Sequence[float],
        *,
        mode: str = "gaussian",
        sigma_scale: Sequence[float] | float = 0.125,
        device: torch.device | str = "cpu",
    ) -> WindowGrid:
        """Windows over an image of the size `image`, neighbours sharing `overlap` (0 to below 1) of their length."""
        size = tuple(max(pair) for pair in zip(image, window, strict=True))
        return cls(
            before=tuple((whole - real) // 2 for whole, real in zip(size, image, strict=True)),
            size=size,
            window=tuple(window),
            starts=tuple(_starts(*each) for each in zip(size, window, overlap, strict=True)),
            weights=compute_importance_map(
                tuple(window), mode=mode, sigma_scale=sigma_scale, device=device, dtype=torch.float32
            ),
        )

    def __len__(self) -> int:
        return math.prod(map(len, self.starts))

    def rows(self) -> Iterator[tuple[int, int, list[tuple[int, ...]]]]:
        """The windows that begin at one plane of the first axis, row after row.

        Gives that plane, the one before which nothing changes any more once the row is done, and the first voxels
        of the row's windows along the other axes.
        """
        tops = self.starts[0]
        places = list(product(*self.starts[1:]))
        for top, following in zip(tops, (*tops[1:], self.size[0]), strict=True):
            yield top, following, places

    def sums(self, begin: int, end: int) -> torch.Tensor:
        """What the weights of all windows come to at planes `begin` to before `end`: `(planes, other axes...)`."""
        total = torch.zeros((end - begin, *self.size[1:]), device=self.weights.device)
        depth = self.window[0]
        for top in self.starts[0]:
            for plane in range(max(begin, top), min(end, top + depth)):
                total[plane - begin] += self._row_sums[min(plane - top, depth - 1 - plane + top)]
        return total

    @cached_property
    def _row_sums(self) -> torch.Tensor:
        """The weights of one row of windows, summed, at each depth into it; weights are symmetric, so half of them."""
        half = self.weights[: (self.window[0] + 1) // 2]
        total = half.new_zeros((len(half), *self.size[1:]))
        for place in product(*self.starts[1:]):
            total[all_channels(box_at(place, self.window[1:]))] += half
        return total


def padded(image: torch.Tensor, before: Sequence[int], size: Sequence[int], mode: str, value: float) -> torch.Tensor:
    """An image `(C, spatial...)` with `before` voxels put before it and as many behind as `size` asks for."""
    pads: list[int] = []
    for first, length, whole in reversed(list(zip(before, image.shape[1:], size, strict=True))):
        pads += [first, whole - length - first]
    return F.pad(image[None], pads, mode=mode, value=value)[0] if any(pads) else image


def _starts(size: int, window: int, overlap: float) -> tuple[int, ...]:
    interval = window if window == size else max(int(window * (1 - overlap)), 1)
    last = size - window
    return tuple(min(start, last) for start in range(0, last + interval, interval))
