"""Whole images through a network without padding, tile by tile and without seams."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from monai.inferers import Inferer

from medseg.errors import ConfigError


class OverlapTile(Inferer):
    """The overlap-tile strategy of the 2015 U-Net (Ronneberger, Fischer and Brox, figure 2).

    The network pads nothing, so its output is smaller than its input by a margin on every side. The image is
    continued beyond its borders by mirroring (its edge pixels are not doubled) as often as the margin asks for,
    and is cut into inputs that overlap by the margin, whose outputs lie side by side; every pixel of the result
    is written once.

    The result has no seams: it is the one of a single tile that holds the whole image, for any tile size. A
    network with poolings sees the same when its input moves by a multiple of their product (16 pixels for four
    poolings of 2), and by nothing less; so the tiles begin at multiples of that from the image's first pixel.
    The 388 pixels that the paper's tile of 572 gives are none, and the last 4 of them are left to the next tile.

    The network says what fits: `margin`, and `input_size(output_size)`, as `medseg.networks.UNet2015` has them.

    Args:
        tile: the largest side of what one tile gives, rounded up to a multiple of the network's step; 384 for
            the inputs of 572 pixels of the paper. Tiles are made smaller where as many of them still suffice.
        batch_size: tiles that go through the network at once.

    Raises:
        ConfigError: for a size that is not positive; from a call, for a network that is not of this kind, or an
            image that is not 2D.
    """

    def __init__(self, tile: int = 384, batch_size: int = 1) -> None:
        super().__init__()
        for name, value in {"tile": tile, "batch_size": batch_size}.items():
            if value < 1:
                raise ConfigError(f"{name} {value}: expected 1 or more")
        self._tile = tile
        self._batch_size = batch_size

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """What the network says of every pixel of the image: `(N, in, H, W)` to `(N, C, H, W)`."""
        if inputs.ndim != 4:
            raise ConfigError(f"image of shape {tuple(inputs.shape)}: tiles are cut of (N, C, H, W)")
        rows, columns = (_cut(length, self._tile, network) for length in inputs.shape[2:])
        places = list(product(range(len(inputs)), rows, columns))
        result: torch.Tensor | None = None
        for begin in range(0, len(places), self._batch_size):
            batch = places[begin : begin + self._batch_size]
            seen = torch.stack([_mirrored(inputs[case], down, across) for case, down, across in batch])
            outputs = network(seen, *args, **kwargs)
            if result is None:
                result = outputs.new_empty((len(inputs), outputs.shape[1], *inputs.shape[2:]))
            for (case, down, across), output in zip(batch, outputs, strict=True):
                kept = output[:, : down.stop - down.start, : across.stop - across.start]
                result[case, :, down.start : down.stop, across.start : across.stop] = kept
        if result is None:
            raise ConfigError(f"image of shape {tuple(inputs.shape)}: nothing to cut into tiles")
        return result


@dataclass(frozen=True)
class _Stretch:
    """One axis of a tile: the pixels from `start` to before `stop` are written, `size` from `first` are seen."""

    start: int
    stop: int
    first: int
    size: int


def _cut(length: int, tile: int, network: Any) -> list[_Stretch]:
    """The tiles along an axis of `length` pixels, all of one size."""
    network = getattr(network, "module", network)  # as DistributedDataParallel wraps it
    margin, input_size = getattr(network, "margin", None), getattr(network, "input_size", None)
    if margin is None or input_size is None:
        name = type(network).__name__
        raise ConfigError(f"{name} has no margin and input_size: OverlapTile is for unpadded networks such as UNet2015")
    smallest = input_size(1)
    step = input_size(smallest - 2 * margin + 1) - smallest
    largest = math.ceil(tile / step) * step
    count = math.ceil(length / largest)
    kept = math.ceil(length / count / step) * step if count else step
    size = input_size(kept)
    return [_Stretch(at, min(at + kept, length), at - margin, size) for at in range(0, length, kept)]


def _mirrored(image: torch.Tensor, down: _Stretch, across: _Stretch) -> torch.Tensor:
    """What one tile sees of an image `(C, H, W)`, which goes on mirrored beyond its borders."""
    rows, columns = (
        _reflected(torch.arange(axis.first, axis.first + axis.size, device=image.device), length)
        for axis, length in zip((down, across), image.shape[1:], strict=True)
    )
    return image[:, rows[:, None], columns]


def _reflected(places: torch.Tensor, length: int) -> torch.Tensor:
    """The pixel of a row of `length` pixels that stands at each place, inside or outside of it."""
    period = max(1, 2 * (length - 1))  # a single pixel is its own mirror image
    within = places.remainder(period)
    return torch.minimum(within, period - within) if length > 1 else torch.zeros_like(places)
