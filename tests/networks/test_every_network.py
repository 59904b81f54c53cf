"""What a bundle asks of any network: built from a config, in other memory formats and number formats, trainable."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

# _target_ within medseg.networks, small arguments, side of an image, side of its logits
NETWORKS: list[tuple[str, dict[str, Any], int, int]] = [
    ("UNet2015", {"features": 4, "dropout": 0.0}, 188, 4),
    ("PaddedUNet", {"features": [4, 8, 16, 32, 64]}, 32, 32),
    ("PaddedUNet", {"features": [4, 8, 16, 32, 64], "upsampling": "bilinear"}, 32, 32),
    ("CarvanaUNet", {"features": [4, 8, 8, 16, 16]}, 32, 32),
    ("MultiResUNet", {"features": [8, 8, 16, 16, 32]}, 32, 32),
    ("VGG16UNet", {"decoder": [8, 8, 8, 8, 8]}, 32, 32),
    ("BrainUNet", {"init_features": 4}, 32, 32),
]
every = pytest.mark.parametrize(
    ("name", "arguments", "side", "out"), NETWORKS, ids=[f"{name}-{index}" for index, (name, *_) in enumerate(NETWORKS)]
)


def built(name: str, arguments: dict[str, Any]) -> torch.nn.Module:
    torch.manual_seed(0)
    config = {"_target_": f"medseg.networks.{name}", "in_channels": 3, "out_channels": 2, **arguments}
    network: torch.nn.Module = ConfigParser({"network_def": config}).get_parsed_content("network_def")
    return network


@every
def test_a_config_builds_it_and_it_trains(name: str, arguments: dict[str, Any], side: int, out: int) -> None:
    network = built(name, arguments)
    assert type(network).__name__ == name
    logits = network(torch.rand(2, 3, side, side))
    assert logits.shape == (2, 2, out, out)
    logits.square().sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in network.parameters())


@every
def test_channels_last_gives_the_same(name: str, arguments: dict[str, Any], side: int, out: int) -> None:
    network, image = built(name, arguments).eval(), torch.rand(1, 3, side, side)
    with torch.no_grad():
        plain = network(image)
        network.to(memory_format=torch.channels_last)
        last = network(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, plain, rtol=1e-3, atol=1e-4)


@every
def test_bf16_autocast_gives_about_the_same(name: str, arguments: dict[str, Any], side: int, out: int) -> None:
    network, image = built(name, arguments).eval(), torch.rand(1, 3, side, side)
    with torch.no_grad():
        exact = network(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = network(image)
    assert (cast.float() - exact).abs().max() <= 0.05 * exact.abs().max()
