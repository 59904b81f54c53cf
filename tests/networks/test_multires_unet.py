"""MultiResUNet has the size of the authors' model, as Keras counts, and refuses what it cannot halve."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medseg.errors import ConfigError
from medseg.networks import MultiResUNet


def test_parameters_and_running_statistics_are_the_authors() -> None:
    with torch.device("meta"):
        network = MultiResUNet()
    trainable = sum(each.numel() for each in network.parameters())
    moving = sum(each.numel() for name, each in network.named_buffers() if "running" in name)
    assert (trainable + moving, trainable, moving) == (7_262_750, 7_238_228, 24_522)


def test_blocks_have_the_papers_channels() -> None:
    with torch.device("meta"):
        network = MultiResUNet()
    assert [block.out_channels for block in network.down] == [51, 105, 212, 426, 853]
    assert [len(path) for path in network.skips] == [4, 3, 2, 1]


@pytest.mark.parametrize("features", [(8, 16, 32, 64, 128), (4, 8), (8, 8, 12)])
def test_output_is_as_large_as_the_image(features: tuple[int, ...]) -> None:
    network = MultiResUNet(2, 3, features=features).eval()
    assert network(torch.rand(1, 2, 32, 48)).shape == (1, 3, 32, 48)


def test_sides_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"image of 40 x 48: .* multiples of 16; pad it to 48 x 48"):
        MultiResUNet(1, 1, features=(8, 8, 8, 8, 8))(torch.rand(1, 1, 40, 48))


@pytest.mark.parametrize("arguments", [{"features": (2, 8)}, {"features": (8,)}, {"alpha": 0.1}])
def test_too_few_channels_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="features"):
        MultiResUNet(1, 1, **arguments)
