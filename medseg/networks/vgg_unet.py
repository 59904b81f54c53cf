"""A U-Net whose way down is VGG16, so that it can start from ImageNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from medseg.errors import BundleError, ConfigError
from medseg.networks.published import fetch_state, load_state, read_state
from medseg.networks.sizes import check_smallest

_IMAGENET = "https://download.pytorch.org/models/vgg16-397923af.pth"
_EXPECTED = "give vgg16-397923af.pth, or 'imagenet' to fetch it"
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions: configuration D
_SMALLEST = 2 ** len(_STAGES)


class VGG16UNet(nn.Module):
    """U-Net on the 13 convolutions of VGG16: (N, in, H, W) -> (N, out, H, W) logits, sides of 32 pixels or more.

    The way down is configuration D of Simonyan and Zisserman 2015 with torchvision's parameter names
    (`features.0.weight` to `features.28.bias`), so that its published ImageNet weights load as they are. They were
    trained on RGB from 0 to 1 less the mean (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225). The way up
    (Ronneberger et al. 2015) begins after the fifth pooling: at each of the five stages bilinear upsampling to the
    skip's size, the skip alongside, a 3x3 convolution, batch normalisation and ReLU.

    Args:
        in_channels: of the image; 3 for published weights.
        out_channels: classes, background included.
        decoder: channels on the way up, from the deepest stage.

    Raises:
        ConfigError: for a decoder of other than five stages; from `forward`, for too small an image.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 2,
        decoder: Sequence[int] = (256, 256, 128, 64, 32),
    ) -> None:
        super().__init__()
        if len(decoder) != len(_STAGES):
            raise ConfigError(f"decoder {list(decoder)}: give the channels of {len(_STAGES)} stages")
        self.features = _vgg16(in_channels)
        skips = [channels for channels, _ in reversed(_STAGES)]
        below = [skips[0], *decoder]
        self.merge = nn.ModuleList(_conv(up + skip, out) for up, skip, out in zip(below, skips, decoder, strict=False))
        self.classify = nn.Conv2d(decoder[-1], out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out, H, W) of an image (N, in, H, W)."""
        check_smallest(image, _SMALLEST)
        skips: list[torch.Tensor] = []
        maps = image
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                skips.append(maps)
            maps = layer(maps)
        for merge, skip in zip(self.merge, reversed(skips), strict=True):
            up = F.interpolate(maps, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            maps = merge(torch.cat([up, skip], dim=1))
        logits: torch.Tensor = self.classify(maps)
        return logits

    def load_published(self, source: str | Path) -> None:
        """Start the way down from published weights.

        Args:
            source: the path of torchvision's vgg16 state dict, whose `classifier.` is left out, or `imagenet`
                to fetch it.

        Raises:
            BundleError: if the weights cannot be had or do not fit.
            ConfigError: if the network takes other than 3 channels.
        """
        channels = self.features[0].in_channels
        if channels != 3:
            raise ConfigError(f"in_channels {channels}: VGG16's weights take 3; repeat the channel")
        state = fetch_state(_IMAGENET, check_hash=True) if source == "imagenet" else read_state(source)
        source = _IMAGENET if source == "imagenet" else source
        unknown = [name for name in state if not name.startswith(("features.", "classifier."))]
        if unknown:
            raise BundleError(f"{source}: not torchvision's vgg16, it has '{unknown[0]}'; {_EXPECTED}")
        encoder = {
            name.removeprefix("features."): tensor for name, tensor in state.items() if name.startswith("features.")
        }
        load_state(self.features, encoder, source)


def _vgg16(in_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = in_channels
    for channels, convolutions in _STAGES:
        for _ in range(convolutions):
            conv = nn.Conv2d(width, channels, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # without normalisation 13 layers need it
            layers += [conv, nn.ReLU(inplace=True)]
            width = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _conv(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))
