"""A deterministic grid of overlapping patches, cut for training and put back together after prediction."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from monai.inferers import AvgMerger
from monai.inferers.splitter import Splitter
from monai.transforms import MapTransform, SpatialPad

from medseg.errors import ConfigError


@dataclass(frozen=True)
class PatchGrid:
    """Where patches lie: the first at the image's first pixel, the last at its last, those between evenly.

    Attributes:
        size: pixels of a patch along each spatial axis.
        counts: patches along each axis (columns, rows); None where `steps` says how many.
        steps: largest distance in pixels between the starts of neighbours along each axis.
    """

    size: tuple[int, ...]
    counts: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls, size: Sequence[int], *, counts: Sequence[int] | None = None, steps: Sequence[int] | None = None
    ) -> PatchGrid:
        """A grid of the values that a config gives.

        Raises:
            ConfigError: unless exactly one of `counts` and `steps` is given, positive and as long as `size`;
                or if steps are wider than patches, which would leave gaps.
        """
        given = [each for each in (counts, steps) if each is not None]
        if len(given) != 1 or len(given[0]) != len(size) or min((*size, *given[0]), default=0) < 1:
            raise ConfigError(f"patch grid of size {list(size)}: give counts or steps, a number for each axis")
        if steps is not None and any(step > length for step, length in zip(steps, size, strict=True)):
            raise ConfigError(f"patch grid: steps {list(steps)} are wider than the patches, {list(size)}")
        return cls(tuple(size), tuple(counts) if counts else None, tuple(steps) if steps else None)

    def starts(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """The first index of every patch in an image of `shape`, which is no smaller than a patch.

        Raises:
            ConfigError: if so few patches cannot cover the image.
        """
        axes = [self._along(axis, length) for axis, length in enumerate(shape)]
        return list(product(*axes))

    def _along(self, axis: int, length: int) -> list[int]:
        size, room = self.size[axis], max(length - self.size[axis], 0)
        if self.steps is not None:
            count = -(-room // self.steps[axis]) + 1
        else:
            count = 1 if room == 0 else self.counts[axis] if self.counts else 1
        if count * size < length:
            raise ConfigError(
                f"patch grid: {count} patches of {size} pixels cannot cover {length}; take more or larger"
            )
        return [round(index * room / (count - 1)) for index in range(count)] if count > 1 else [0]


class GridPatchesd(MapTransform):
    """MONAI transform from one case to the list of its patches, the same ones every time.

    An image smaller than a patch is padded with zeros behind. `monai.data.DataLoader` takes the list apart.
    """

    def __init__(
        self,
        keys: Sequence[str],
        size: Sequence[int],
        *,
        counts: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
    ) -> None:
        super().__init__(keys)
        self._grid = PatchGrid.of(size, counts=counts, steps=steps)
        self._pad = SpatialPad(size, method="end")

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """The case's other entries are shared by its patches."""
        padded = {key: self._pad(data[key]) for key in self.key_iterator(dict(data))}
        shape = next(iter(padded.values())).shape[1:]
        return [
            {**data, **{key: array[_window(start, self._grid.size)] for key, array in padded.items()}}
            for start in self._grid.starts(shape)
        ]


class GridSplitter(Splitter):
    """The same grid for `monai.inferers.PatchInferer`, whose `AvgMerger` puts the patches back together."""

    def __init__(
        self, size: Sequence[int], *, counts: Sequence[int] | None = None, steps: Sequence[int] | None = None
    ) -> None:
        super().__init__(patch_size=size)
        self._grid = PatchGrid.of(size, counts=counts, steps=steps)

    def get_input_shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """The spatial shape of the image."""
        return tuple(inputs.shape[2:])

    def get_padded_shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """That shape, at least a patch."""
        return tuple(max(pair) for pair in zip(inputs.shape[2:], self._grid.size, strict=True))

    def __call__(self, inputs: torch.Tensor) -> Iterator[tuple[torch.Tensor, tuple[int, ...]]]:
        """Every patch `(N, C, patch...)` and where it starts."""
        missing = [b - a for a, b in zip(inputs.shape[2:], self.get_padded_shape(inputs), strict=True)]
        padding = [amount for each in reversed(missing) for amount in (0, each)]
        padded = torch.nn.functional.pad(inputs, padding)
        for start in self._grid.starts(padded.shape[2:]):
            window = (slice(None), *_window(start, self._grid.size))
            yield padded[window], start


def _window(start: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    return (slice(None), *(slice(first, first + length) for first, length in zip(start, size, strict=True)))


class PatchMean(AvgMerger):
    """MONAI's mean of overlapping patches on the patches' device: `PatchInferer` cannot tell it theirs."""

    def aggregate(self, values: torch.Tensor, location: Sequence[int]) -> None:
        """Add patches `(N, C, spatial...)` that start at `location`."""
        if self.values.device != values.device:
            self.values, self.counts = self.values.to(values.device), self.counts.to(values.device)
        super().aggregate(values, location)
