"""The network of the paper: its layers, its sizes, and where its output lies in the input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from medseg.errors import ConfigError
from medseg.networks import UNet2015


def count_by_the_papers_figure() -> int:
    """Parameters of figure 1, layer by layer: kernel x kernel x in x out + out."""
    down = [(1, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]
    three = [pair for into, out in down for pair in ((into, out), (out, out))]
    three += [pair for _, wide in down[:0:-1] for pair in ((wide, wide // 2), (wide // 2, wide // 2))]
    two = [(wide, wide // 2) for _, wide in down[:0:-1]]
    return sum(
        kernel**2 * into * out + out for kernel, pairs in ((3, three), (2, two), (1, [(64, 2)])) for into, out in pairs
    )


def test_layers_and_parameters_are_the_papers() -> None:
    with torch.device("meta"):
        network = UNet2015()
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    assert [len([layer for layer in layers if layer.kernel_size == (size, size)]) for size in (3, 2, 1)] == [18, 4, 1]
    assert len(layers) == 23
    assert sum(each.numel() for each in network.parameters()) == count_by_the_papers_figure() == 31_030_658


def test_sizes_are_the_papers() -> None:
    with torch.no_grad():
        assert UNet2015(features=2)(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
        assert UNet2015(3, 5, features=2)(torch.zeros(2, 3, 188, 204)).shape == (2, 5, 4, 20)


def halves_everywhere(size: int) -> bool:
    for _ in range(4):
        size -= 4
        if size <= 0 or size % 2:
            return False
        size //= 2
    for _ in range(4):
        size = 2 * (size - 4)
    return size > 4


def test_input_size_is_the_smallest_that_fits() -> None:
    valid = [size for size in range(1, 700) if halves_everywhere(size)]
    for output_size in range(1, 400):
        fitting = [size for size in valid if size - 2 * UNet2015.margin >= output_size]
        assert UNet2015.input_size(output_size) == fitting[0]


@pytest.mark.parametrize(
    ("size", "nearest"), [(570, "556 or 572"), (571, "556 or 572"), (190, "188 or 204"), (100, "188, the smallest")]
)
def test_other_sizes_are_refused_with_the_nearest(size: int, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"side of {size} pixels: .* nearest: {nearest}$"):
        UNet2015(features=2)(torch.zeros(1, 1, 188, size))


def test_finest_skip_is_cropped_to_the_middle() -> None:
    """With nothing but the finest skip left, an output pixel sees the 9 x 9 pixels around its own place."""
    network = UNet2015(features=4).eval()
    nn.init.zeros_(network.up[-1].weight)
    image = torch.rand(1, 1, 204, 204, requires_grad=True)
    network(image)[0, :, 8, 11].sum().backward()
    assert image.grad is not None
    _, _, rows, columns = torch.nonzero(image.grad, as_tuple=True)
    assert 96 <= int(rows.min()) <= 100 <= int(rows.max()) <= 104
    assert 99 <= int(columns.min()) <= 103 <= int(columns.max()) <= 107


def test_weights_start_as_in_the_paper() -> None:
    network = UNet2015(features=64)
    conv, up = network.merge[3][2], network.up[0]
    assert float(conv.weight.detach().std()) == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert float(up.weight.detach().std()) == pytest.approx(math.sqrt(2 / 1024), rel=0.02)
    assert all(not each.any() for name, each in network.named_parameters() if name.endswith("bias"))


def test_dropout_is_of_training_alone() -> None:
    network, image = UNet2015(features=4, dropout=0.5), torch.rand(1, 1, 188, 188)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))
