"""Test-time augmentation: the mean of what a network sees in mirrored images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import torch
from monai.inferers import Inferer

from medseg.errors import ConfigError


class Mirrored(Inferer):
    """Runs an inferer on every mirrored (and perhaps transposed) copy of the image and takes the mean.

    What is averaged are the probabilities (softmax), not the logits, so that one sure view cannot outvote the
    others. Time grows with the copies: 2 to the power of the axes, twice that with `transpose`.

    Args:
        inferer: such as `SlidingWindowInferer`.
        axes: the spatial axes to mirror, from 0; every combination of them is one copy.
        transpose: whether to exchange the first two spatial axes too, which gives all 8 symmetries of a
            picture; for tissue and photographs that have no upright.

    Raises:
        ConfigError: for an axis that is none (from the call, one that the image lacks), or one given twice.
    """

    def __init__(self, inferer: Inferer, axes: Sequence[int] = (0, 1), *, transpose: bool = False) -> None:
        super().__init__()
        if not set(axes) <= {0, 1, 2} or len(set(axes)) < len(axes):
            raise ConfigError(f"mirrored axes {list(axes)}: expected some of the spatial axes 0, 1, 2, each once")
        self._inferer = inferer
        self._axes = tuple(axes)
        self._transpose = transpose

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logarithms of the mean probabilities `(N, C, spatial...)`, whose softmax they are themselves."""
        if any(axis + 2 >= inputs.ndim for axis in self._axes):
            dims = inputs.ndim - 2
            raise ConfigError(f"mirrored axes {list(self._axes)}: the image has only {dims} spatial axes")
        copies = list(self._copies())
        total: torch.Tensor | float = 0.0
        for flips, transposed in copies:
            seen = inputs.transpose(2, 3) if transposed else inputs
            seen = seen.flip(flips) if flips else seen
            logits = self._inferer(seen.contiguous(), network, *args, **kwargs)
            probabilities = logits.float().softmax(dim=1)
            probabilities = probabilities.flip(flips) if flips else probabilities
            total = total + (probabilities.transpose(2, 3) if transposed else probabilities)
        mean = torch.as_tensor(total) / len(copies)
        return mean.clamp_min(torch.finfo(torch.float32).tiny).log()

    def _copies(self) -> Iterator[tuple[tuple[int, ...], bool]]:
        for count in range(len(self._axes) + 1):
            for axes in combinations(self._axes, count):
                for transposed in (False, True) if self._transpose else (False,):
                    yield tuple(axis + 2 for axis in axes), transposed
