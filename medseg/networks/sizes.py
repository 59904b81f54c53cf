"""Image sizes that a network's poolings can halve."""

from __future__ import annotations

import torch

from medseg.errors import ConfigError


def check_smallest(image: torch.Tensor, smallest: int) -> None:
    """That no side of `image` (N, C, H, W) is shorter than `smallest`, the pixels of which poolings leave one.

    Raises:
        ConfigError: if one is.
    """
    height, width = image.shape[-2:]
    if min(height, width) < smallest:
        raise ConfigError(f"image of {height} x {width}: pad it to {smallest} pixels a side or more")


def check_multiple(image: torch.Tensor, factor: int) -> None:
    """That both sides of `image` (N, C, H, W) are multiples of `factor`.

    Raises:
        ConfigError: if a side is none.
    """
    height, width = image.shape[-2:]
    if height % factor or width % factor:
        fitting = " x ".join(str(-(-side // factor) * factor) for side in (height, width))
        raise ConfigError(
            f"image of {height} x {width}: this network takes sides that are multiples of {factor}; pad it to {fitting}"
        )
