"""The engine of windows says what MONAI's sliding window says, and hands it out in pieces that fit together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch.overrides import _get_current_function_mode

from medseg.errors import ConfigError
from medseg.inference import SlidingWindow
from medseg.inference.backends.onednn import Onednn


class Convolutions(torch.nn.Sequential):
    """A small network that sees two voxels far."""

    def __init__(self, dims: int, classes: int) -> None:
        convolution: Any = torch.nn.Conv3d if dims == 3 else torch.nn.Conv2d
        super().__init__(convolution(1, 4, 3, padding=1), torch.nn.Tanh(), convolution(4, classes, 3, padding=1))
        self.eval()


@st.composite
def sliding(draw: st.DrawFn) -> dict[str, Any]:
    dims = draw(st.integers(2, 3))
    return {
        "size": draw(st.lists(st.integers(1, 24), min_size=dims, max_size=dims)),
        "roi_size": draw(st.lists(st.integers(2, 12), min_size=dims, max_size=dims)),
        "overlap": draw(st.sampled_from([0, 0.25, 0.5, 0.7])),
        "mode": draw(st.sampled_from(["gaussian", "constant"])),
        "sw_batch_size": draw(st.integers(1, 5)),
        "cases": draw(st.integers(1, 2)),
        "classes": draw(st.sampled_from([1, 2, 5])),
    }


@settings(max_examples=60)
@given(sliding())
@torch.no_grad()
def test_engine_equals_monais_sliding_window(drawn: dict[str, Any]) -> None:
    size, classes, cases = drawn.pop("size"), drawn.pop("classes"), drawn.pop("cases")
    torch.manual_seed(0)
    network = Convolutions(len(size), classes)
    image = torch.randn(cases, 1, *size)
    theirs = SlidingWindowInferer(**drawn)(image, network)
    ours = SlidingWindow(**drawn)(image, network)
    assert ours.shape == theirs.shape and ours.dtype == torch.float32
    assert torch.allclose(ours, theirs, atol=1e-5)


@given(sliding())
@torch.no_grad()
def test_cores_of_the_pieces_cover_the_image_once_and_hold_their_neighbours(drawn: dict[str, Any]) -> None:
    size, classes, _ = drawn.pop("size"), drawn.pop("classes"), drawn.pop("cases")
    network = Convolutions(len(size), classes)
    seen = torch.zeros(size)
    for piece in SlidingWindow(**drawn).pieces(torch.randn(1, *size), network):
        seen[piece.core] += 1
        for core, start, held, length in zip(piece.core, piece.start, piece.logits.shape[1:], size, strict=True):
            assert start <= core.start and min(core.stop, length - 1) < start + held
    assert (seen == 1).all()


@torch.no_grad()
def test_windows_of_air_are_not_run_and_are_background() -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 40, 40)
    image[..., 26:38, 3:15] = 1
    run = 0

    def network(windows: torch.Tensor) -> torch.Tensor:
        nonlocal run
        run += len(windows)
        return torch.cat([0.5 - windows, windows - 0.5], dim=1)

    every = SlidingWindow(8, overlap=0.5, mode="gaussian")(image, network)
    all_windows, run = run, 0
    some = SlidingWindow(8, overlap=0.5, mode="gaussian", skip_below=0)(image, network)
    assert run < all_windows / 3
    assert torch.equal(some.argmax(1), every.argmax(1))
    assert some.softmax(1)[0, 0, 5, 30] > 0.99, "background that nobody doubts"


@torch.no_grad()
def test_background_of_air_is_not_doubted_where_rounding_leaves_weights_of_windows_left_out() -> None:
    image = torch.zeros(1, 1, 40, 40, 40)
    image[..., :5, :5, :5] = 1
    found = SlidingWindow(16, overlap=0.6, mode="gaussian", skip_below=0)(image, Convolutions(3, 3))
    air = found[0, :, 16:, 16:, 16:]
    assert (air[0] == 20).all() and not air[1:].any()


@torch.no_grad()
def test_image_of_air_only_is_background_everywhere() -> None:
    found = SlidingWindow(8, skip_below=0)(torch.zeros(1, 1, 20, 20), lambda x: torch.cat([0.5 - x, x - 0.5], dim=1))
    assert not found.argmax(1).any()


def test_network_that_works_in_place_leaves_the_image_as_it_was() -> None:
    image = torch.randn(1, 1, 16, 16)
    before = image.clone()
    SlidingWindow(8, sw_batch_size=1)(image, lambda x: x.mul_(0))
    assert torch.equal(image, before)


@pytest.mark.parametrize("window", ["trained", "auto"])
@torch.no_grad()
def test_result_is_float32_whatever_the_network_computes_in(window: str) -> None:
    image = torch.randn(1, 1, 20, 20)
    network = torch.nn.Identity()
    network.register_forward_hook(lambda _, __, seen: seen.bfloat16())
    found = SlidingWindow(8, overlap=0.5, mode="gaussian", window=window)(image, network)
    assert torch.allclose(found, image, atol=0.02) and found.dtype == torch.float32


@pytest.mark.parametrize("window", ["trained", "auto"])
def test_result_has_its_image_s_place_in_the_world_and_no_gradients(window: str) -> None:
    """As MONAI's has, so that whatever follows, `Invertd` first, finds what it needs; nobody turned gradients off."""
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))
    image = MetaTensor(torch.randn(1, 1, 20, 20, 20), affine=affine[None], meta={"filename_or_obj": ["scan.nii.gz"]})
    found = SlidingWindow(8, overlap=0.5, window=window)(image, Convolutions(3, 2))
    expected = SlidingWindowInferer(8, overlap=0.5)(image, Convolutions(3, 2))
    assert isinstance(found, MetaTensor) and found.meta.keys() == expected.meta.keys()
    assert torch.equal(found.affine, expected.affine)
    assert found.meta["filename_or_obj"] == ["scan.nii.gz"]
    assert not found.requires_grad


@pytest.mark.parametrize("window", ["trained", "auto"])
def test_windows_go_to_the_device_of_the_network(window: str) -> None:
    """One that computes nothing, as seen by what the network is given; what it says is held where the image is."""

    def network(windows: torch.Tensor) -> torch.Tensor:
        assert windows.is_meta
        return torch.ones(windows.shape)

    image = torch.zeros(1, 1, 20, 20)
    found = SlidingWindow(8, overlap=0.5, window=window, sw_device="meta", device="cpu")(image, network)
    assert found.device == image.device and torch.allclose(found, torch.ones(1))


@pytest.mark.parametrize("overlap", [1, -0.1, [0.5, 1.0], "0.5", None])
def test_overlap_that_is_none_is_refused(overlap: Any) -> None:
    with pytest.raises(ConfigError, match="expected 0 or more and less than 1"):
        SlidingWindow(8, overlap=overlap)


@pytest.mark.parametrize(("roi_size", "overlap"), [((40, 56), 0.25), (16, (0.5, 0.5))])
def test_window_of_other_axes_than_the_image_is_named(roi_size: Any, overlap: Any) -> None:
    with pytest.raises(ConfigError, match=r"(roi_size|overlap) \[.*\]: the image has 3 axes; give one number for each"):
        SlidingWindow(roi_size, overlap=overlap)(torch.zeros(1, 1, 20, 20, 20), torch.nn.Identity())


@pytest.mark.parametrize("network", [lambda x: x[..., ::2], lambda x: [x]])
def test_network_of_another_kind_is_left_to_monai_and_gives_no_pieces(network: Any) -> None:
    image = torch.rand(1, 1, 20, 24)
    found, expected = SlidingWindow(8)(image, network), SlidingWindowInferer(8, 4)(image, network)
    for each, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(each, theirs)
    with pytest.raises(ConfigError, match=r"SlidingWindow takes one tensor of the windows' size$"):
        list(SlidingWindow(8).pieces(image[0], network))


def test_convolutions_of_single_windows_are_onednns_in_any_network() -> None:
    """Torch's own for a batch of 1 takes 2 to 8 times as long."""
    modes = []

    class Asks(torch.nn.Conv3d):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            modes.append(type(_get_current_function_mode()))
            return super().forward(windows)

    SlidingWindow((8, 8, 8))(torch.zeros(1, 1, 8, 8, 8), Asks(1, 2, 1))
    assert modes[-1] is Onednn
