"""The U-Net as it was published."""

from __future__ import annotations

import math

import torch
from torch import nn

from medseg.errors import ConfigError

_SMALLEST = 188  # every feature map keeps a pixel: 188 in, 4 out
_STEP = 16  # four poolings


class UNet2015(nn.Module):
    """Unpadded U-Net of 23 convolutional layers (Ronneberger, Fischer and Brox 2015, figure 1).

    Two unpadded 3x3 convolutions with ReLU per level, four 2x2 max poolings, 2x2 up-convolutions that halve the
    channels, skips cropped to fit, a 1x1 convolution: (N, in, H, W) -> (N, out, H - 184, W - 184) logits, 572 to
    388. Weights start from a Gaussian of standard deviation sqrt(2 / N) with N inputs to a neuron, as in
    section 3. 31 030 658 parameters with 1 channel in, 2 out and 64 features; the paper states no count.

    Args:
        in_channels: of the image.
        out_channels: classes, background included.
        features: channels of the first level, doubled at every level down; 64 in the paper.
        dropout: probability "at the end of the contracting path", which the paper does not state; 0.5 after each
            of the two deepest levels in the network file that the authors released.

    Raises:
        ConfigError: from `forward`, for an image of a size that a pooling would not halve.
    """

    margin = 92
    """Pixels by which the output is smaller than the input on each side."""

    def __init__(self, in_channels: int = 1, out_channels: int = 2, features: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(5)]
        self.down = nn.ModuleList(_convs(into, out) for into, out in zip([in_channels, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        below = widths[:0:-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(width, width // 2, 2, stride=2) for width in below)
        self.merge = nn.ModuleList(_convs(width, width // 2) for width in below)
        self.classify = nn.Conv2d(features, out_channels, 1)
        self.apply(_initialise)

    @classmethod
    def input_size(cls, output_size: int) -> int:
        """The smallest side of an input that every pooling halves and whose output covers `output_size` pixels."""
        beyond = max(0, output_size + 2 * cls.margin - _SMALLEST)
        return _SMALLEST + math.ceil(beyond / _STEP) * _STEP

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out, H - 184, W - 184) of an image (N, in, H, W)."""
        for side in image.shape[-2:]:
            _check_side(side)
        skips: list[torch.Tensor] = []
        maps = image
        for level, convs in enumerate(self.down):
            maps = convs(self.pool(maps) if level else maps)
            if level >= len(self.down) - 2:
                maps = self.dropout(maps)
            skips.append(maps)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            maps = up(maps)
            maps = merge(torch.cat([_crop(skip, maps), maps], dim=1))
        logits: torch.Tensor = self.classify(maps)
        return logits


def _convs(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3), nn.ReLU(inplace=True), nn.Conv2d(out, out, 3), nn.ReLU(inplace=True))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
        # A pixel after a 2x2 up-convolution of stride 2 has one input pixel, not four.
        pixels = 1 if isinstance(module, nn.ConvTranspose2d) else math.prod(module.kernel_size)
        nn.init.normal_(module.weight, std=math.sqrt(2 / (pixels * module.in_channels)))
        nn.init.zeros_(module.bias)


def _check_side(side: int) -> None:
    if side >= _SMALLEST and (side - _SMALLEST) % _STEP == 0:
        return
    below = side - (side - _SMALLEST) % _STEP
    nearest = f"{below} or {below + _STEP}" if side > _SMALLEST else f"{_SMALLEST}, the smallest"
    raise ConfigError(
        f"image side of {side} pixels: UNet2015 takes {_SMALLEST}, {_SMALLEST + _STEP}, ... pixels; nearest: {nearest}"
    )


def _crop(skip: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """The middle of `skip`, as large as `maps`."""
    top, left = ((large - small) // 2 for large, small in zip(skip.shape[-2:], maps.shape[-2:], strict=True))
    return skip[..., top : top + maps.shape[-2], left : left + maps.shape[-1]]
