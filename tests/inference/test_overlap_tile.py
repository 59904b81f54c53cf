"""Tiles of a network without padding: no seams, whatever the sizes, and mirrored beyond the borders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medseg.errors import ConfigError
from medseg.inference import OverlapTile
from medseg.networks import PaddedUNet, UNet2015


class Middle(nn.Module):
    """Gives the middle of what it sees, under the rule of a network with two poolings, and counts."""

    margin = 6

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    @staticmethod
    def input_size(output_size: int) -> int:
        return 16 + max(0, -(-(output_size - 4) // 4)) * 4

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        return image[..., 6:-6, 6:-6]


@pytest.fixture(scope="module")
def network() -> UNet2015:
    """Of few channels, and of logits around 1, whose rounding is that of probabilities."""
    torch.manual_seed(0)
    network = UNet2015(1, 2, features=4).eval()
    nn.init.normal_(network.classify.weight, std=0.1)
    return network


def assert_no_seams(network: nn.Module, shape: tuple[int, ...], tile: int, batch_size: int = 1) -> None:
    """The probabilities of tiles are those of one tile that holds the whole image, but for rounding."""
    image = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        with torch.no_grad():
            tiled = OverlapTile(tile, batch_size)(image.to(dtype), network.to(dtype)).softmax(dim=1)
            whole = OverlapTile(max(shape))(image.to(dtype), network.to(dtype)).softmax(dim=1)
        assert tiled.shape == whole.shape == (shape[0], 2, *shape[2:])
        assert float((tiled - whole).abs().max()) < tolerance


@given(height=st.integers(1, 130), width=st.integers(1, 130), tile=st.integers(1, 100), batch_size=st.integers(1, 3))
@settings(max_examples=15)
def test_there_are_no_seams(network: UNet2015, height: int, width: int, tile: int, batch_size: int) -> None:
    assert_no_seams(network, (1, 1, height, width), tile, batch_size)


@pytest.mark.parametrize("shape", [(2, 1, 97, 61), (1, 1, 1, 1), (1, 1, 3, 210)])
def test_there_are_no_seams_in_batches_and_tiny_images(network: UNet2015, shape: tuple[int, ...]) -> None:
    assert_no_seams(network, shape, tile=32, batch_size=3)


def test_tiles_of_another_phase_would_have_seams(network: UNet2015) -> None:
    """Why tiles begin at multiples of 16: moved by anything less, the network gives something else."""
    image = torch.randn(1, 1, 220, 220, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    network.double()
    with torch.no_grad():
        here = network(image[..., :204, :204])
        by_4, by_16 = network(image[..., 4:208, 4:208]), network(image[..., 16:220, 16:220])
    assert float((by_4[..., :16, :16] - here[..., 4:, 4:]).abs().max()) > 1e-3
    assert float((by_16[..., :4, :4] - here[..., 16:, 16:]).abs().max()) < 1e-12


def test_result_is_the_networks_own_output_inside_the_image(network: UNet2015) -> None:
    """No border in sight: the middle of an image, whose surroundings the network sees as they are."""
    image = torch.randn(1, 1, 220, 220, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    network.double()
    with torch.no_grad():
        expected = network(image[..., 4:208, 4:208])  # of the pixels from 96, a multiple of 16, to 116
        result = OverlapTile(32)(image, network)
    assert float((result[..., 96:116, 96:116] - expected).abs().max()) < 1e-12


@given(height=st.integers(1, 40), width=st.integers(1, 40), tile=st.integers(1, 50), batch_size=st.integers(1, 4))
def test_every_pixel_lands_in_its_place(height: int, width: int, tile: int, batch_size: int) -> None:
    image = torch.arange(2.0 * 3 * height * width).reshape(2, 3, height, width)
    assert torch.equal(OverlapTile(tile, batch_size)(image, Middle()), image)


@given(height=st.integers(1, 20), width=st.integers(1, 20))
def test_borders_are_mirrored_as_numpy_does(height: int, width: int) -> None:
    image = np.arange(float(height * width)).reshape(height, width)
    network = Middle()
    OverlapTile(20)(torch.from_numpy(image)[None, None], network)
    (seen,) = network.seen
    beyond = [(6, size - 6 - length) for size, length in zip(seen.shape[2:], image.shape, strict=True)]
    np.testing.assert_array_equal(seen[0, 0].numpy(), np.pad(image, beyond, mode="reflect"))


@pytest.mark.parametrize(
    ("length", "tile", "count", "side"), [(512, 384, 2, 256), (512, 150, 4, 128), (200, 384, 1, 200), (9, 4, 3, 4)]
)
def test_tiles_are_as_large_as_asked_and_no_larger_than_needed(length: int, tile: int, count: int, side: int) -> None:
    network = Middle()
    OverlapTile(tile)(torch.zeros(1, 1, length, 1), network)
    assert [seen.shape[2] for seen in network.seen] == [side + 2 * Middle.margin] * count


def test_of_the_papers_size_by_default() -> None:
    seen: list[tuple[int, ...]] = []

    class Spy(UNet2015):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(image.shape))
            return torch.zeros(len(image), 2, image.shape[2] - 184, image.shape[3] - 184)

    assert OverlapTile()(torch.zeros(1, 1, 768, 512), Spy(features=1)).shape == (1, 2, 768, 512)
    assert seen == [(1, 1, 572, 444)] * 4


def test_values_and_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^batch_size 0: expected 1 or more$"):
        OverlapTile(batch_size=0)
    with pytest.raises(ConfigError, match=r"^PaddedUNet has no margin and input_size: .* such as UNet2015$"):
        OverlapTile()(torch.zeros(1, 1, 32, 32), PaddedUNet(1, 2))
    with pytest.raises(ConfigError, match=r"^image of shape \(1, 1, 8, 8, 8\): tiles are cut of"):
        OverlapTile()(torch.zeros(1, 1, 8, 8, 8), Middle())
    with pytest.raises(ConfigError, match="nothing to cut"):
        OverlapTile()(torch.zeros(0, 1, 8, 8), Middle())
