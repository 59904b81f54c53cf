"""A small image that a network takes: to follow it, or to count what it does."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def noise(*shape: int) -> torch.Tensor:
    """The same normal noise at each call; torch's own generator is left where it is."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def small_image(network: torch.nn.Module, window: Sequence[int], channels: int) -> torch.Tensor:
    """Noise `(1, C, spatial...)` of the smallest size tried that the network takes, at most a window.

    From 32 voxels a side, which most networks can halve as often as they do, in doublings, to the window.

    Raises:
        ValueError: if the network does not even take a window, or gives no tensor.
    """
    sizes = [tuple(min(side, edge) for side in window) for edge in (32, 64, 128)]
    for size in dict.fromkeys([*sizes, tuple(window)]):
        image = noise(1, channels, *size)
        try:
            logits = network(image)
        except Exception:  # too small for the network's levels, each network says it in its own way
            continue
        if not isinstance(logits, torch.Tensor):
            raise ValueError(f"the network gives a {type(logits).__name__}, not a tensor")
        return image
    raise ValueError(f"the network does not take windows of {tuple(window)} with {channels} channels")
