"""Volumes slice by slice through networks for pictures."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import SimpleInferer, SliceInferer
from torch import nn

from medseg.errors import ConfigError
from medseg.inference import Mirrored, Slices, SlidingWindow


def lopsided(channels: int) -> nn.Module:
    """Three classes by a kernel without any symmetry."""
    torch.manual_seed(0)
    return nn.Conv2d(channels, 3, 3, padding=1).requires_grad_(False)


def volume(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@settings(deadline=None, max_examples=25)
@given(size=st.tuples(*[st.integers(1, 20)] * 3), axis=st.integers(0, 2), channels=st.integers(1, 2))
def test_without_neighbours_it_gives_what_monais_slice_inferer_gives(
    size: tuple[int, ...], axis: int, channels: int
) -> None:
    network, seen = lopsided(channels), volume(2, channels, *size)
    window = [8, 8]
    expected = SliceInferer(roi_size=window, spatial_dim=axis, overlap=0.5, mode="gaussian")(seen, network)
    found = Slices(SlidingWindow(window, 4, 0.5, "gaussian"), axis)(seen, network)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_are_further_channels_from_the_lowest_to_the_highest(axis: int) -> None:
    image = volume(2, 9, 10, 11)
    found = Slices(SimpleInferer(), axis, neighbours=1)(image[None], lopsided(6))[0]
    slices = image.unbind(1 + axis)
    last = len(slices) - 1
    for place, below, above in [(0, 0, 1), (4, 3, 5), (last, last - 1, last)]:
        seen = torch.cat([slices[below], slices[place], slices[above]])
        assert torch.allclose(found.select(1 + axis, place), lopsided(6)(seen[None])[0], atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 40), axis=st.integers(0, 2))
def test_pieces_cover_the_volume_and_hold_what_lies_on_both_sides(count: int, axis: int) -> None:
    size = [4, 4, 4]
    size[axis] = count
    reached = 0
    for piece in Slices(SimpleInferer(), axis).pieces(volume(1, *size), lopsided(1)):
        core, held = piece.core[axis], piece.logits.shape[1 + axis]
        assert core.start == reached < core.stop
        reached = core.stop
        assert piece.start[axis] <= core.start
        assert piece.start[axis] + held == min(core.stop + 1, count)
    assert reached == count


def test_slices_may_be_mirrored() -> None:
    image, network = volume(1, 1, 6, 6, 3), lopsided(1)
    found = Slices(Mirrored(SimpleInferer(), [0, 1]))(image, network).softmax(1)
    expected = torch.stack(
        [Mirrored(SimpleInferer(), [0, 1])(image[..., k], network).softmax(1) for k in range(3)], dim=-1
    )
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"), [({"axis": 3}, "axis 3"), ({"axis": -1}, "axis -1"), ({"neighbours": -1}, "neighbours -1")]
)
def test_what_makes_no_slices_is_told(given: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Slices(SimpleInferer(), **given)


def test_a_picture_has_no_slices() -> None:
    with pytest.raises(ConfigError, match="2 axes"):
        Slices(SimpleInferer())(volume(1, 1, 5, 5), lopsided(1))


@pytest.mark.parametrize("memory", [None, 1e6])
def test_slices_that_are_put_together_are_in_the_forecast_and_fewer_where_memory_is_short(
    memory: float | None,
) -> None:
    network, image = nn.Conv2d(1, 50, 1), volume(1, 64, 64, 20)
    inferer = Slices(SlidingWindow((64, 64)))
    inferer.memory = memory
    pieces = list(inferer.pieces(image, network))
    held = 2 * max(piece.logits.nbytes for piece in pieces)
    assert inferer.needed is not None and inferer.needed >= held
    assert max(piece.logits.shape[3] for piece in pieces) == (9 if memory is None else 2)


def test_mirrored_slices_have_two_axes() -> None:
    with pytest.raises(ConfigError, match=r"^mirrored axes \[0, 2\]: slices have only 2 spatial axes$"):
        Mirrored(Slices(SlidingWindow((8, 8))), axes=[0, 2])(volume(1, 1, 8, 8, 3), nn.Conv2d(1, 2, 1))
