"""A network that a backend computes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from medseg.inference.backends import Forward, prepare
from medseg.inference.wrapped import Wrapped


class Prepared(Wrapped):
    """A network that a backend computes; made ready when the first windows come.

    Args:
        inner: the network, in eval mode, on `device`.
        backend: one of `backends.BACKENDS`.
        device: to compute on.
        precision: see `medseg.device.pick_precision`.
        windows: how many will come at least, which tells whether a long preparation pays.
    """

    def __init__(
        self, inner: nn.Module, *, backend: str, device: torch.device, precision: torch.dtype, windows: int
    ) -> None:
        super().__init__(inner)
        self.precision = precision
        self._how: dict[str, Any] = {"backend": backend, "device": device, "precision": precision, "windows": windows}
        self._ready: Forward | None = None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(N, C, spatial...)` of a number format that may be `precision`."""
        if image.is_meta:  # somebody asks for shapes only
            shapes: torch.Tensor = self.inner(image)
            return shapes
        if self._ready is None:
            self._ready = prepare(self.inner, window=image.shape[2:], channels=image.shape[1], **self._how)
        return self._ready(image)

    def __deepcopy__(self, memo: dict[int, Any]) -> Prepared:
        return Prepared(copy.deepcopy(self.inner, memo), **self._how)
