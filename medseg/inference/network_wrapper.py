"""A network around a network."""

from __future__ import annotations

from typing import Any

from torch import nn


class NetworkWrapper(nn.Module):
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
