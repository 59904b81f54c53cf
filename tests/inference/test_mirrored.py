"""The mean over mirrored and transposed copies is one of probabilities, each put back in its place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from torch import nn

from medseg.errors import ConfigError
from medseg.inference import Mirrored

Tensor = torch.Tensor
PICTURE, NARROW, VOLUME = (2, 1, 12, 12), (1, 1, 8, 13), (1, 1, 6, 8, 10)


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def lopsided(dims: int) -> nn.Module:
    """Three classes by a kernel without any symmetry, so that every copy gives something else."""
    torch.manual_seed(0)
    convolution = nn.Conv2d if dims == 2 else nn.Conv3d
    return convolution(1, 3, 3, padding=1).double().requires_grad_(False)


def probabilities(network: nn.Module, seen: Tensor) -> Tensor:
    found: Tensor = network(seen).float().softmax(dim=1)
    return found


@pytest.mark.parametrize("shape", [PICTURE, NARROW])
def test_mean_over_the_four_mirrored_copies_of_a_picture(shape: tuple[int, ...]) -> None:
    network, seen = lopsided(2), image(*shape)
    turned: list[Callable[[Tensor], Tensor]] = [
        lambda x: x,
        lambda x: torch.flipud(x.movedim((2, 3), (0, 1))).movedim((0, 1), (2, 3)),
        lambda x: torch.fliplr(x.movedim((2, 3), (0, 1))).movedim((0, 1), (2, 3)),
        lambda x: torch.rot90(x, 2, (2, 3)),
    ]
    expected = sum(each(probabilities(network, each(seen))) for each in turned) / 4
    assert torch.allclose(Mirrored(SimpleInferer())(seen, network).exp(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [PICTURE, NARROW])
def test_transposed_too_it_is_the_mean_over_all_eight_symmetries(shape: tuple[int, ...]) -> None:
    """Quarter turns, and the same of the picture seen from behind: none left out, none twice."""
    network, seen = lopsided(2), image(*shape)
    copies = []
    for turns, behind in product(range(4), (False, True)):
        turned = torch.rot90(seen.flip(3) if behind else seen, turns, (2, 3))
        back = torch.rot90(probabilities(network, turned), -turns, (2, 3))
        copies.append(back.flip(3) if behind else back)
    expected = torch.stack(copies).mean(dim=0)
    result = Mirrored(SimpleInferer(), transpose=True)(seen, network)
    assert result.shape == (shape[0], 3, *shape[2:])
    assert torch.allclose(result.exp(), expected, atol=1e-6)
    assert not torch.allclose(result.exp(), Mirrored(SimpleInferer())(seen, network).exp(), atol=1e-3)


def test_volume_is_mirrored_along_the_axes_asked_for() -> None:
    network, seen = lopsided(3), image(*VOLUME)
    for axes in ((), (2,), (0, 2), (0, 1, 2)):
        copies = [
            probabilities(network, seen.flip(flips)).flip(flips)
            for chosen in product((False, True), repeat=len(axes))
            for flips in [[axis + 2 for axis, is_chosen in zip(axes, chosen, strict=True) if is_chosen]]
        ]
        result = Mirrored(SimpleInferer(), axes)(seen, network)
        assert torch.allclose(result.exp(), torch.stack(copies).mean(dim=0), atol=1e-6)


def test_network_that_knows_no_direction_gives_its_own_softmax() -> None:
    torch.manual_seed(0)
    pixelwise = nn.Conv2d(1, 3, 1).double().requires_grad_(False)
    seen = image(*NARROW)
    result = Mirrored(SimpleInferer(), transpose=True)(seen, pixelwise)
    assert torch.allclose(result.softmax(dim=1), probabilities(pixelwise, seen), atol=1e-7)


def test_sure_copy_does_not_outvote_the_others() -> None:
    """One column says class 1 with a logit of 1000, its mirror image class 0 barely: as likely as not, not certain."""

    class SureOnTheLeft(nn.Module):
        def forward(self, seen: Tensor) -> Tensor:
            logits = torch.zeros(len(seen), 2, *seen.shape[2:])
            logits[:, 1, :, 0] = 1000.0
            logits[:, 0, :, 1] = 1000.0
            return logits

    result = Mirrored(SimpleInferer(), (1,))(torch.zeros(1, 1, 2, 2), SureOnTheLeft())
    assert torch.allclose(result.exp(), torch.full((1, 2, 2, 2), 0.5))


def test_softmax_of_the_result_is_its_probabilities_even_of_what_is_impossible() -> None:
    seen = image(*NARROW)
    result = Mirrored(SimpleInferer())(seen, lopsided(2))
    assert torch.allclose(result.softmax(dim=1), result.exp(), atol=1e-6)
    impossible = Mirrored(SimpleInferer())(seen, lambda x: torch.cat([x * 0 + 1000, x * 0 - 1000], dim=1))
    assert impossible.isfinite().all(), "a logarithm of nothing would become NaN when resampled"
    assert torch.allclose(impossible.softmax(dim=1)[:, 0], torch.ones(1, 8, 13))


def test_inferer_is_asked_once_per_copy() -> None:
    seen: list[tuple[int, ...]] = []

    def network(window: Tensor) -> Tensor:
        seen.append(tuple(window.shape))
        return torch.cat([window, -window], dim=1)

    inferer = SlidingWindowInferer(roi_size=(8, 13), sw_batch_size=1)
    assert Mirrored(inferer)(image(*NARROW), network).shape == (1, 2, 8, 13)
    assert seen == [(1, 1, 8, 13)] * 4


def test_axes_that_an_image_has_not_are_refused() -> None:
    for axes in ([3], [-1], [0, 0], 0):
        with pytest.raises(ConfigError, match=r"^mirrored axes .*: expected a list of some of .*, each once$"):
            Mirrored(SimpleInferer(), axes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^mirrored axes \[0, 2\]: the image has only 2 spatial axes$"):
        Mirrored(SimpleInferer(), (0, 2))(image(*PICTURE), lopsided(2))
