"""A network that a backend computes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from medseg.device import pick_precision
from medseg.inference.backends import prepare
from medseg.inference.network_wrapper import NetworkWrapper


class Prepared(NetworkWrapper):
    """A network that a backend computes; made ready when windows come.

    Args:
        inner: the network, in eval mode, on `device`.
        backend: one of `backends.BACKENDS`.
        device: to compute on.
        precision: see `medseg.device.pick_precision`.
        images: how many will come, which tells whether a long preparation pays.

    Raises:
        ConfigError: for a backend or a precision that there is not.
    """

    def __init__(self, inner: nn.Module, *, backend: str, device: torch.device, precision: str, images: int) -> None:
        super().__init__(inner)
        self.precision = pick_precision(device, precision)
        self._how: dict[str, Any] = {"backend": backend, "device": device, "precision": precision}
        self._backends = prepare(inner, backend=backend, device=device, precision=self.precision)
        self._images = images
        self._windows = 1

    def expect(self, windows: int) -> None:
        """Say of how many windows the image is that comes now."""
        self._windows = windows

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(N, C, spatial...)` of a number format that may be `precision`."""
        if image.is_meta:  # somebody asks for shapes only
            shapes: torch.Tensor = self.inner(image)
            return shapes
        windows = self._images * self._windows
        return self._backends.forward_for(image.shape[2:], image.shape[1], windows)(image)

    def __deepcopy__(self, memo: dict[int, Any]) -> Prepared:
        return Prepared(copy.deepcopy(self.inner, memo), images=self._images, **self._how)
