"""The U-Net with bilinear upsampling from Kaggle's Carvana challenge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from medseg.errors import ConfigError
from medseg.networks.sizes import check_smallest

_EPSILON = 1e-4  # of the batch normalisation there


class CarvanaUNet(nn.Module):
    """Deep padded U-Net of the Carvana challenge of 2017: (N, in, H, W) -> (N, out, H, W) logits.

    As EKami/carvana-challenge describes it: two times 3x3 convolution without bias, batch normalisation and ReLU
    per level, a pooling after every level, one such convolution in the centre; upwards bilinear upsampling to the
    skip's size, which allows any size, and three convolutions to the width of the level above.

    No parameter count was published for any of its widths. The default of five poolings has 47 240 705 parameters
    with 3 channels in and 1 out by this reading; that repository's network for 1024 pixels has six poolings and
    features (24, 64, 128, 256, 512, 768).

    Args:
        in_channels: of the image.
        out_channels: classes, background included.
        features: channels of each level from the top; the centre has the last one's.

    Raises:
        ConfigError: for `features` of fewer than two levels; from `forward`, for an image that the poolings leave
            nothing of.
    """

    def __init__(
        self, in_channels: int = 3, out_channels: int = 2, features: Sequence[int] = (64, 128, 256, 512, 1024)
    ) -> None:
        super().__init__()
        if len(features) < 2:
            raise ConfigError(f"features {list(features)}: give two levels or more")
        self.down = nn.ModuleList(
            _convs(into, out, times=2) for into, out in zip([in_channels, *features], features, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.centre = _convs(features[-1], features[-1], times=1)
        above = [features[0], *features[:-1]]
        self.merge = nn.ModuleList(
            _convs(2 * width, out, times=3) for width, out in zip(reversed(features), reversed(above), strict=True)
        )
        self.classify = nn.Conv2d(features[0], out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out, H, W) of an image (N, in, H, W)."""
        check_smallest(image, 2 ** len(self.down))
        skips: list[torch.Tensor] = []
        maps = image
        for convs in self.down:
            skips.append(convs(maps))
            maps = self.pool(skips[-1])
        maps = self.centre(maps)
        for merge, skip in zip(self.merge, reversed(skips), strict=True):
            # How torch of that year resized: the corners of both grids coincide.
            up = F.interpolate(maps, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            maps = merge(torch.cat([up, skip], dim=1))
        logits: torch.Tensor = self.classify(maps)
        return logits


def _convs(into: int, out: int, *, times: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in range(times):
        conv = nn.Conv2d(out if step else into, out, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(out, eps=_EPSILON), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
