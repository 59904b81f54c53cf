"""Volumes through a network for pictures, slice by slice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn

from medseg.errors import ConfigError
from medseg.inference.windows.inferer_wrapper import InfererWrapper
from medseg.inference.windows.pieces import Piece, as_given, joined, pieces_of

_BLOCK = 8  # slices of a piece at most, so that what is done with pieces is not done for every slice


class Slices(InfererWrapper):
    """Runs a two-dimensional network on every slice of a volume; with `neighbours`, on a few at a time (2.5D).

    Without neighbours its result is that of MONAI's `SliceInferer`. With n of them the network has 2n + 1 times the
    image's channels: those of the slice n below first, then upwards to the slice n above; beyond the ends of the
    volume the outermost slice is seen again.

    Args:
        inferer: for one slice, such as `SlidingWindow` with a window of two sides.
        axis: the spatial axis that is cut, from 0, of the image as the preprocessing leaves it.
        neighbours: the slices on either side that the network sees too.

    Raises:
        ConfigError: for an axis that is none, or fewer than no neighbours; from a call, for an image without 3 axes.
    """

    def __init__(self, inferer: Inferer, axis: int = 2, *, neighbours: int = 0) -> None:
        super().__init__(inferer)
        if axis not in (0, 1, 2):
            raise ConfigError(f"slices along axis {axis}: expected 0, 1 or 2")
        if neighbours < 0:
            raise ConfigError(f"neighbours {neighbours}: expected 0 or more")
        self._axis = axis
        self._neighbours = neighbours
        self._held = 0  # bytes of a block's slices, which are held twice

    @property
    def cuts_slices(self) -> bool:
        """Always: it takes volumes, whatever the network does."""
        return True

    @property
    def needed(self) -> float | None:
        """Bytes that a slice's windows are forecast to take, and the slices that are put together."""
        windows = super().needed
        return None if windows is None else windows + self._held

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """What the network says of every voxel: `(N, C, spatial...)` to `(N, classes, spatial...)`, float32."""
        found = [joined(self.pieces(image, network), image.shape[1:]) for image in inputs.as_subclass(torch.Tensor)]
        return as_given(torch.stack(found), inputs)

    def pieces(self, image: torch.Tensor, network: nn.Module) -> Iterator[Piece]:
        """The same of one image `(C, spatial...)`, some slices at a time."""
        if image.ndim != 4:
            raise ConfigError(f"an image with {image.ndim - 1} axes: slices are cut of one with 3")
        image = image.as_subclass(torch.Tensor)
        first = self._logits(image, 0, network)  # which tells how many classes there are
        block, memory = min(_BLOCK, image.shape[1 + self._axis]), self.memory
        if memory is not None:
            block = max(1, min(block, int(memory / 4 / first.nbytes)))
        self._held = 2 * (block + 1) * first.nbytes
        return self._blocks(image, network, first, block)

    def _blocks(self, image: torch.Tensor, network: nn.Module, first: torch.Tensor, block: int) -> Iterator[Piece]:
        count = image.shape[1 + self._axis]
        last: list[torch.Tensor] = []  # of the block before: what lies between two blocks needs both
        for begin in range(0, count, block):
            end = min(begin + block, count)
            found = last + [self._logits(image, place, network) if place else first for place in range(begin, end)]
            start = begin - len(last)
            last = found[-1:]
            core = slice(start, count if end == count else end - 1)
            yield self._piece(torch.stack(found, dim=1 + self._axis), start, core)

    def _logits(self, image: torch.Tensor, place: int, network: nn.Module) -> torch.Tensor:
        count = image.shape[1 + self._axis]
        places = torch.arange(place - self._neighbours, place + self._neighbours + 1, device=image.device)
        slices = image.index_select(1 + self._axis, places.clamp(0, count - 1)).movedim(1 + self._axis, 0)
        seen = slices.flatten(0, 1)
        return joined(pieces_of(self._inferer, seen, network), seen.shape[1:])

    def _piece(self, logits: torch.Tensor, start: int, core: slice) -> Piece:
        whole = Piece.whole(logits)
        starts, cores = list(whole.start), list(whole.core)
        starts[self._axis], cores[self._axis] = start, core
        return Piece(logits, tuple(starts), tuple(cores))
