"""The padded U-Net with batch normalisation that is common in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from medseg.errors import ConfigError
from medseg.networks.sizes import check_smallest


class PaddedUNet(nn.Module):
    """U-Net with padded convolutions and batch normalisation: (N, in, H, W) -> (N, out, H, W) logits.

    After Ronneberger et al. 2015, in the form of milesial/Pytorch-UNet: two times 3x3 convolution without bias,
    batch normalisation and ReLU per level; four 2x2 max poolings; what comes up is padded to its skip, so that any
    size from 16 pixels passes. With 3 channels in and 1 out it has 31 037 633 parameters, or 17 262 977 where
    upsampling is bilinear and so cannot halve the channels: there the deepest level and the upward path have half of
    them.

    Args:
        in_channels: of the image.
        out_channels: classes, background included.
        features: channels of each level from the top, each twice the one above for the counts above.
        upsampling: `transposed` 2x2 convolutions or `bilinear`.

    Raises:
        ConfigError: for an `upsampling` or `features` that this network has not; from `forward`, for an image
            that the poolings leave nothing of.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 2,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        upsampling: Literal["transposed", "bilinear"] = "transposed",
    ) -> None:
        super().__init__()
        if upsampling not in ("transposed", "bilinear"):
            raise ConfigError(f"upsampling '{upsampling}' is not known; use 'transposed' or 'bilinear'")
        if len(features) < 2 or any(width < 2 for width in features):
            raise ConfigError(f"features {list(features)}: give two levels or more, each of 2 channels or more")
        *above, deepest = features
        halve = 2 if upsampling == "bilinear" else 1
        widths = [*above, deepest // halve]
        self.down = nn.ModuleList(
            _convs(into, out, out) for into, out in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        below = widths[-1]
        for level in reversed(range(len(above))):
            skip = above[level]
            if upsampling == "transposed":
                self.up.append(nn.ConvTranspose2d(below, skip, 2, stride=2))
                self.merge.append(_convs(2 * skip, skip, skip))
                below = skip
            else:
                self.up.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
                out = skip // 2 if level else skip
                self.merge.append(_convs(below + skip, (below + skip) // 2, out))
                below = out
        self.classify = nn.Conv2d(below, out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out, H, W) of an image (N, in, H, W)."""
        check_smallest(image, 2 ** (len(self.down) - 1))
        skips: list[torch.Tensor] = []
        maps = image
        for level, convs in enumerate(self.down):
            maps = convs(self.pool(maps) if level else maps)
            skips.append(maps)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            maps = merge(torch.cat([skip, _pad(up(maps), skip)], dim=1))
        logits: torch.Tensor = self.classify(maps)
        return logits


def _convs(into: int, between: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(into, between, 3, padding=1, bias=False),
        nn.BatchNorm2d(between),
        nn.ReLU(inplace=True),
        nn.Conv2d(between, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


def _pad(maps: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """`maps` with zeros around it, as large as `skip`: pooling drops the last row or column of an odd size."""
    rows, columns = (large - small for large, small in zip(skip.shape[-2:], maps.shape[-2:], strict=True))
    return F.pad(maps, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
