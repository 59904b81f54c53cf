"""The deep bilinear U-Net counts as its description does and takes any image."""

from __future__ import annotations

import pytest
import torch

from medseg.errors import ConfigError
from medseg.networks import CarvanaUNet


def count_by_description(features: tuple[int, ...], in_channels: int, out_channels: int) -> int:
    """Per convolution 9 x in x out and two numbers of batch normalisation a channel; a biased 1 x 1 last."""
    pairs = [(features[-1], features[-1])]
    for into, out in zip((in_channels, *features), features, strict=False):
        pairs += [(into, out), (out, out)]
    for width, out in zip(features, (features[0], *features), strict=False):
        pairs += [(2 * width, out), (out, out), (out, out)]
    return sum(9 * into * out + 2 * out for into, out in pairs) + (features[0] + 1) * out_channels


@pytest.mark.parametrize(
    ("features", "count"), [((64, 128, 256, 512, 1024), 47_240_705), ((24, 64, 128, 256, 512, 768), 35_371_873)]
)
def test_parameters_are_those_of_the_description(features: tuple[int, ...], count: int) -> None:
    with torch.device("meta"):
        network = CarvanaUNet(3, 1, features)
    assert sum(each.numel() for each in network.parameters()) == count_by_description(features, 3, 1) == count


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (37, 50)])
def test_output_is_as_large_as_any_image(size: tuple[int, int]) -> None:
    network = CarvanaUNet(1, 2, features=(4, 8, 8, 16, 16)).eval()
    assert network(torch.rand(1, 1, *size)).shape == (1, 2, *size)


def test_image_that_pooling_leaves_nothing_of_is_refused() -> None:
    with pytest.raises(ConfigError, match="image of 31 x 40: pad it to 32 pixels"):
        CarvanaUNet(1, 2, features=(4, 4, 4, 4, 4))(torch.rand(1, 1, 31, 40))
    with pytest.raises(ConfigError, match="two levels"):
        CarvanaUNet(1, 2, features=(4,))
