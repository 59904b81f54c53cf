"""The common padded U-Net has its published size and takes any image."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medseg.errors import ConfigError
from medseg.networks import PaddedUNet


@pytest.mark.parametrize(
    ("upsampling", "out_channels", "count"),
    [
        ("transposed", 1, 31_037_633),
        ("transposed", 2, 31_037_698),
        ("bilinear", 1, 17_262_977),
        ("bilinear", 2, 17_263_042),
    ],
)
def test_parameters_are_as_published(upsampling: Any, out_channels: int, count: int) -> None:
    with torch.device("meta"):
        network = PaddedUNet(3, out_channels, upsampling=upsampling)
    assert sum(each.numel() for each in network.parameters()) == count


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("size", [(16, 16), (32, 48), (37, 50)])
def test_output_is_as_large_as_any_image(upsampling: Any, size: tuple[int, int]) -> None:
    network = PaddedUNet(1, 3, features=(4, 8, 16, 32, 64), upsampling=upsampling).eval()
    assert network(torch.rand(1, 1, *size)).shape == (1, 3, *size)


def test_padding_keeps_rows_in_their_place() -> None:
    """An image that the poolings halve is computed alike beside one that they do not, away from its edge."""
    torch.manual_seed(0)
    network = PaddedUNet(1, 2, features=(4, 8)).eval()
    image = torch.rand(1, 1, 33, 33)
    with torch.no_grad():
        odd, even = network(image), network(image[..., :32, :32])
    torch.testing.assert_close(odd[..., :20, :20], even[..., :20, :20])


@pytest.mark.parametrize("arguments", [{"upsampling": "nearest"}, {"features": (8,)}])
def test_wrong_arguments_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        PaddedUNet(1, 2, **arguments)


def test_image_that_pooling_leaves_nothing_of_is_refused() -> None:
    with pytest.raises(ConfigError, match="image of 15 x 40: pad it to 16 pixels"):
        PaddedUNet(1, 2, features=(4, 8, 16, 32, 64))(torch.rand(1, 1, 15, 40))
