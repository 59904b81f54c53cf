"""Networks around a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medseg.device import autocast


class Wrapped(nn.Module):
    """A network that changes what another one sees or says.

    What an inferer asks of the architecture, such as the margin of an unpadded U-Net, the inner network answers.

    Args:
        inner: the network.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


class Cast(Wrapped):
    """A network that computes in another number format, as far as autocast takes it.

    Args:
        inner: the network.
        device: to compute on.
        precision: see `medseg.device.pick_precision`.
    """

    def __init__(self, inner: nn.Module, device: torch.device, precision: torch.dtype) -> None:
        super().__init__(inner)
        self._device = device
        self.precision = precision

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(N, C, spatial...)` of a number format that may be `precision`."""
        with autocast(self._device, self.precision):
            logits: torch.Tensor = self.inner(image)
        return logits
