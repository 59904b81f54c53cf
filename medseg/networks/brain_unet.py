"""The U-Net for lower-grade glioma, with its published weights."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from medseg.errors import BundleError
from medseg.networks.published import State, fetch_state, load_state, read_state
from medseg.networks.sizes import check_multiple

_HUB = "https://github.com/mateuszbuda/brain-segmentation-pytorch/releases/download/v1.0/unet-e012d006.pt"
_EXPECTED = "give unet-e012d006.pt as mateuszbuda/brain-segmentation-pytorch has it, or 'hub' to fetch it"
_HEAD = ("conv.weight", "conv.bias")


class BrainUNet(nn.Module):
    """Padded U-Net with batch normalisation (Buda, Saha and Mazurowski 2019): (N, in, H, W) -> (N, out, H, W).

    Parameters have the names and shapes of mateuszbuda/brain-segmentation-pytorch, whose state dict loads as it
    is; 7 763 041 of them with 3 channels in, 1 out and 32 features. That model ends in a sigmoid: this one returns
    the logits before it. Its three channels are the pre-contrast, FLAIR and post-contrast slice.

    Args:
        in_channels: of the image, whose sides are multiples of 16.
        out_channels: classes: 1 for the published weights, 2 for them through `as_two_channels`.
        init_features: channels of the first level, doubled at every level down.

    Raises:
        ConfigError: from `forward`, for sides that are no multiples of 16.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 1, init_features: int = 32) -> None:
        super().__init__()
        one, two, four, eight, sixteen = (init_features * 2**level for level in range(5))
        self.encoder1 = _block(in_channels, one, "enc1")
        self.encoder2 = _block(one, two, "enc2")
        self.encoder3 = _block(two, four, "enc3")
        self.encoder4 = _block(four, eight, "enc4")
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = _block(eight, sixteen, "bottleneck")
        self.upconv4 = nn.ConvTranspose2d(sixteen, eight, 2, stride=2)
        self.decoder4 = _block(sixteen, eight, "dec4")
        self.upconv3 = nn.ConvTranspose2d(eight, four, 2, stride=2)
        self.decoder3 = _block(eight, four, "dec3")
        self.upconv2 = nn.ConvTranspose2d(four, two, 2, stride=2)
        self.decoder2 = _block(four, two, "dec2")
        self.upconv1 = nn.ConvTranspose2d(two, one, 2, stride=2)
        self.decoder1 = _block(two, one, "dec1")
        self.conv = nn.Conv2d(one, out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out, H, W) of an image (N, in, H, W)."""
        check_multiple(image, 16)
        skips: list[torch.Tensor] = []
        maps = image
        for encoder in (self.encoder1, self.encoder2, self.encoder3, self.encoder4):
            skips.append(encoder(maps))
            maps = self.pool(skips[-1])
        maps = self.bottleneck(maps)
        for up, decoder in (
            (self.upconv4, self.decoder4),
            (self.upconv3, self.decoder3),
            (self.upconv2, self.decoder2),
            (self.upconv1, self.decoder1),
        ):
            maps = decoder(torch.cat([up(maps), skips.pop()], dim=1))
        logits: torch.Tensor = self.conv(maps)
        return logits

    def load_published(self, source: str | Path) -> None:
        """Start from the published weights, as they are or, for 2 channels out, through `as_two_channels`.

        Args:
            source: the path of the downloaded state dict, or `hub` to fetch it.

        Raises:
            BundleError: if they cannot be had or do not fit.
        """
        state, source = published_weights(source), _HUB if source == "hub" else source
        load_state(self, as_two_channels(state, source) if self.conv.out_channels == 2 else state, source)


def published_weights(source: str | Path) -> State:
    """The published state dict, for `BrainUNet()`.

    Args:
        source: the path of the downloaded file, or `hub` to fetch it from its authors' release.

    Raises:
        BundleError: if it cannot be had or read.
    """
    # No hash: nobody states that the digits in the file's name are one.
    return fetch_state(_HUB, check_hash=False) if source == "hub" else read_state(source)


def as_two_channels(state: State, source: str | Path = "state dict") -> State:
    """Weights of a 1-channel sigmoid network as those of the same network with 2 softmax channels.

    The background's logit is 0 and the foreground's the published one z: exp(z) / (1 + exp(z)) is its sigmoid.

    Args:
        state: the published one.
        source: where it is from, for an error.

    Raises:
        BundleError: if the state dict has no output layer, or one of other than 1 channel.
    """
    missing = [name for name in _HEAD if name not in state]
    if missing:
        raise BundleError(f"{source}: without {missing[0]}, so not a BrainUNet's; {_EXPECTED}")
    channels = [each.shape[0] if (each := state[name]).ndim else 0 for name in _HEAD]
    if channels != [1, 1]:
        raise BundleError(f"{source}: of {channels[0]} output channels, and only 1 can become 2; {_EXPECTED}")
    return {name: torch.cat([torch.zeros_like(each), each]) if name in _HEAD else each for name, each in state.items()}


def _block(into: int, out: int, name: str) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in ((1, into), (2, out)):
        layers[f"{name}conv{number}"] = nn.Conv2d(width, out, 3, padding=1, bias=False)
        layers[f"{name}norm{number}"] = nn.BatchNorm2d(out)
        layers[f"{name}relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)
