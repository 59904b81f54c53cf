"""Test-time augmentation: the mean of what a network sees in mirrored images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn

from medseg.errors import ConfigError
from medseg.inference.ensemble import log_mean_probabilities
from medseg.inference.network_wrapper import NetworkWrapper
from medseg.inference.windows.inferer_wrapper import InfererWrapper
from medseg.inference.windows.pieces import Piece, pieces_of


class Mirrored(InfererWrapper):
    """Runs an inferer with a network that sees every mirrored (and perhaps transposed) copy and takes the mean.

    What is averaged are the probabilities (softmax), not the logits, so that one sure view cannot outvote the
    others. Windows are mirrored one by one, so that only their own copies are held at a time. Time grows with the
    copies: 2 to the power of the axes, twice that with `transpose`.

    Args:
        inferer: such as `SlidingWindow`.
        axes: the spatial axes to mirror, from 0; every combination of them is one copy.
        transpose: whether to exchange the first two spatial axes too, which gives all 8 symmetries of a
            picture; for tissue and photographs that have no upright.

    Raises:
        ConfigError: for an axis that is none (from the call, one that the image lacks), or one given twice.
    """

    def __init__(self, inferer: Inferer, axes: Sequence[int] = (0, 1), *, transpose: bool = False) -> None:
        super().__init__(inferer)
        if isinstance(axes, int) or not set(axes) <= {0, 1, 2} or len(set(axes)) < len(axes):
            raise ConfigError(f"mirrored axes {axes}: expected a list of some of the spatial axes 0, 1, 2, each once")
        self._axes = tuple(axes)
        self._transpose = transpose
        self._known: _Copies | None = None

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logarithms of the mean probabilities `(N, C, spatial...)`, whose softmax they are themselves."""
        found: torch.Tensor = self._inferer(inputs, self._copies(network, inputs.ndim - 2), *args, **kwargs)
        return found

    def pieces(self, image: torch.Tensor, network: nn.Module) -> Iterator[Piece]:
        """The same of one image `(C, spatial...)`, in the pieces of the inferer."""
        return pieces_of(self._inferer, image, self._copies(network, image.ndim - 1))

    def _copies(self, network: nn.Module, dims: int) -> nn.Module:
        dims -= self.cuts_slices  # which are what the network sees
        if any(axis >= dims for axis in self._axes):
            what = "slices have" if self.cuts_slices else "the image has"
            raise ConfigError(f"mirrored axes {list(self._axes)}: {what} only {dims} spatial axes")
        if self._known is None or self._known.inner is not network:
            self._known = _Copies(network, self._axes, self._transpose)
        return self._known


class _Copies(NetworkWrapper):
    """A network that looks at mirrored copies of its input, one after the other."""

    def __init__(self, network: nn.Module, axes: tuple[int, ...], transpose: bool) -> None:
        super().__init__(network)
        self._ways = [
            (tuple(axis + 2 for axis in flipped), transposed)
            for count in range(len(axes) + 1)
            for flipped in combinations(axes, count)
            for transposed in ((False, True) if transpose else (False,))
        ]

    def forward(self, image: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logarithms of the mean probabilities."""
        return log_mean_probabilities(self._logits(image, *args, **kwargs))

    def _logits(self, image: torch.Tensor, *args: Any, **kwargs: Any) -> Iterator[torch.Tensor]:
        """Those of each copy, turned back."""
        for flips, transposed in self._ways:
            seen = image.transpose(2, 3) if transposed else image
            logits = self.inner(seen.flip(flips).contiguous(), *args, **kwargs).flip(flips)
            yield logits.transpose(2, 3) if transposed else logits
