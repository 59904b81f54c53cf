"""What one pass of a network takes, found without computing anything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from medseg.networks.copying import copied
from medseg.networks.live_tensors import LiveTensors

_LARGEST_STEP = 256


class Forecast:
    """Runs a network on tensors that have a shape but no values.

    Args:
        network: from images `(N, C, spatial...)` to logits `(N, classes, spatial...)`.
        channels: C.
        precision: of its tensors.

    Attributes:
        classes: that the network tells apart; known after the first pass.
    """

    def __init__(self, network: nn.Module, channels: int, precision: torch.dtype = torch.float32) -> None:
        self._network = copied(
            network, lambda each: each.to("meta", precision if each.is_floating_point() else each.dtype)
        )
        self._channels = channels
        self._precision = precision
        self.classes = 0
        self._bytes: dict[tuple[int, ...], int | None] = {}

    def bytes(self, window: Sequence[int]) -> int | None:
        """The most bytes of tensors alive at a time in a pass of one window, weights not among them.

        None if the network takes no such window, or gives anything but one tensor of its size. What a library's
        convolution takes besides, inside of itself, is not seen.
        """
        key = tuple(window)
        if key not in self._bytes:
            self._bytes[key] = self._tried(key)
        return self._bytes[key]

    def _tried(self, window: tuple[int, ...]) -> int | None:
        alive = LiveTensors()
        with torch.device("meta"), alive, torch.no_grad():
            image = torch.empty((1, self._channels, *window), dtype=self._precision)
            try:
                logits = self._network(image)
            except Exception:  # each network says in its own way that it does not take a size
                return None
        fits = isinstance(logits, torch.Tensor) and tuple(logits.shape[2:]) == window
        if not fits:
            return None
        self.classes = logits.shape[1]
        return alive.peak

    def step(self, window: Sequence[int]) -> int | None:
        """The smallest power of 2 by which every side of a window can grow; None if there is none."""
        step = 1
        while step <= math.gcd(_LARGEST_STEP, *window):
            if self.bytes([side + step for side in window]) is not None:
                return step
            step *= 2
        return None
