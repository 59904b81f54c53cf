"""A small image that a network takes: to follow it, or to count what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from medseg.networks.copying import copied

_SMALL = ((32, 32, 32), (64, 32, 32), (64, 64, 64), (128, 128, 128))  # a side more: instance norms need two voxels


def noise(*shape: int) -> torch.Tensor:
    """The same normal noise at each call; torch's own generator is left where it is."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def small_image(network: torch.nn.Module, window: Sequence[int], channels: int) -> torch.Tensor:
    """Noise `(1, C, spatial...)` of the smallest size tried that the network takes, at most a window.

    From 32 voxels a side, which most networks can halve as often as they do, to the window.

    Raises:
        ValueError: if the network does not even take a window, or gives no tensor.
    """
    sizes = [tuple(min(side, edge) for side, edge in zip(sides, window, strict=False)) for sides in _SMALL]
    for size in dict.fromkeys([*sizes, tuple(window)]):
        image = noise(1, channels, *size)
        try:
            logits = output_of(network, image)
        except Exception:  # too small for the network's levels, each network says it in its own way
            continue
        if not isinstance(logits, torch.Tensor):
            raise ValueError(f"the network gives a {type(logits).__name__}, not a tensor")
        return image
    raise ValueError(f"the network does not take windows of {tuple(window)} with {channels} channels")


def another_size(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Noise that differs from an image in the length of every side, if the network takes such, else of its size."""
    sides = image.shape[2:]
    short, long = min(sides), max(sides)
    swapped = [short if side == long else long for side in sides]
    for size in ([2 * side for side in sides] if short == long else swapped, [2 * side for side in sides]):
        other = noise(*image.shape[:2], *size)
        try:
            output_of(network, other)
        except Exception:  # of another number of halvings, or for one size only
            continue
        return other
    return noise(*image.shape)


def output_of(network: torch.nn.Module, image: torch.Tensor) -> Any:
    """What a network gives for an image: without values, which takes no time, where its forward asks for none.

    Raises:
        Exception: whatever the network raises.
    """
    try:
        return copied(network, lambda tensor: tensor.to("meta"))(image.to("meta"))
    except Exception:  # of a tensor that is no buffer, say
        return network(image)
