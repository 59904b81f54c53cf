"""The U-Net of multiresolution blocks and residual skips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from medseg.errors import ConfigError
from medseg.networks.sizes import check_multiple

# The shares of 1/6, 1/3 and 1/2 as the authors' program rounds them: 8 + 17 + 26 of 53.44 channels.
_SHARES = (0.167, 0.333, 0.5)


class MultiResUNet(nn.Module):
    """MultiResUNet (Ibtehaz and Rahman 2020): (N, in, H, W) -> (N, out, H, W) logits; sides multiples of 16.

    Each level is a MultiRes block: three 3x3 convolutions in a row with a sixth, a third and half of
    alpha x features channels, side by side (the views of a 3x3, a 5x5 and a 7x7), plus a 1x1 residual. Skips pass
    Res paths of 4, 3, 2 and 1 residual 3x3 convolutions.

    Layers are those of the authors' Keras model: convolutions without bias, batch normalisation after them
    without scale, after the last one too, so that logits have variance 1 in training. Keras counts moving means
    and variances as non-trainable parameters, so that its 7 262 750 with 3 channels in and 1 out are 7 238 228
    parameters and 24 522 running statistics here. Batch normalisation has torch's momentum and epsilon, not
    Keras's.

    Args:
        in_channels: of the image.
        out_channels: classes; the paper's one ends in a sigmoid, which is left to the loss here.
        alpha: channels of a block relative to a U-Net's.
        features: channels of each level of the U-Net that is compared with.

    Raises:
        ConfigError: if a level has too few channels to share; from `forward`, for sides that are no multiples.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        alpha: float = 1.67,
        features: Sequence[int] = (32, 64, 128, 256, 512),
    ) -> None:
        super().__init__()
        if len(features) < 2 or any(int(alpha * width * _SHARES[0]) < 1 for width in features):
            raise ConfigError(
                f"features {list(features)}, alpha {alpha}: a sixth of a level's channels must be 1 or more"
            )
        above = list(features[:-1])
        self.down = nn.ModuleList()
        self.skips = nn.ModuleList()
        width = in_channels
        for level, wanted in enumerate(features):
            block = _MultiResBlock(width, alpha * wanted)
            self.down.append(block)
            width = block.out_channels
            if level < len(above):
                self.skips.append(_res_path(width, wanted, length=len(above) - level))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for wanted in reversed(above):
            self.up.append(nn.ConvTranspose2d(width, wanted, 2, stride=2))
            block = _MultiResBlock(2 * wanted, alpha * wanted)
            self.merge.append(block)
            width = block.out_channels
        self.classify = _conv_norm(width, out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out, H, W) of an image (N, in, H, W)."""
        check_multiple(image, 2 ** len(self.skips))
        skips: list[torch.Tensor] = []
        maps = image
        for level, block in enumerate(self.down):
            maps = block(self.pool(maps) if level else maps)
            if level < len(self.skips):
                skips.append(self.skips[level](maps))
        for up, block, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            maps = block(torch.cat([up(maps), skip], dim=1))
        logits: torch.Tensor = self.classify(maps)
        return logits


class _MultiResBlock(nn.Module):
    """(N, in, H, W) -> (N, about `width`, H, W)."""

    def __init__(self, in_channels: int, width: float) -> None:
        super().__init__()
        parts = [int(width * share) for share in _SHARES]
        self.out_channels = sum(parts)
        self.shortcut = _conv_norm(in_channels, self.out_channels, 1)
        self.convs = nn.ModuleList(
            _conv_norm(into, out, 3) for into, out in zip([in_channels, *parts], parts, strict=False)
        )
        self.inner_norm = nn.BatchNorm2d(self.out_channels)
        self.outer_norm = nn.BatchNorm2d(self.out_channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        views = [maps]
        for conv in self.convs:
            views.append(F.relu(conv(views[-1])))
        joint = F.relu(self.shortcut(maps) + self.inner_norm(torch.cat(views[1:], dim=1)))
        result: torch.Tensor = self.outer_norm(joint)
        return result


class _ResConv(nn.Module):
    """One step of a Res path: a 3x3 convolution and a 1x1 residual."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.shortcut = _conv_norm(in_channels, out_channels, 1)
        self.conv = _conv_norm(in_channels, out_channels, 3)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(F.relu(self.shortcut(maps) + F.relu(self.conv(maps))))
        return result


class _ShiftNorm(nn.BatchNorm2d):
    """Batch normalisation with a shift and no scale: a ReLU or another normalisation follows anyway."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)
        self.bias = nn.Parameter(torch.zeros(channels))


def _conv_norm(into: int, out: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, size, padding=size // 2, bias=False), _ShiftNorm(out))


def _res_path(into: int, out: int, *, length: int) -> nn.Sequential:
    return nn.Sequential(*(_ResConv(out if step else into, out) for step in range(length)))
