"""Windows as large as the memory allows: fewer of them, and what they say is what a whole pass says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.inferers import SlidingWindowInferer
from monai.networks.blocks import ResidualSELayer
from monai.networks.nets import DynUNet, UNet

from medseg.inference import SlidingWindow
from medseg.inference.windows.forecast import Forecast
from medseg.inference.windows.tiles import Tiling

CONVOLUTIONS = torch.nn.Sequential(
    torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv3d(4, 2, 3, padding=1)
).eval()


def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(3, 1, 3, channels=(4, 8, 8), strides=(2, 2), norm="batch").eval()


def dynunet(levels: int = 4) -> DynUNet:
    return DynUNet(
        2,
        1,
        3,
        kernel_size=[3] * levels,
        strides=[1, *[2] * (levels - 1)],
        upsample_kernel_size=[2] * (levels - 1),
        filters=[4] * levels,
        deep_supervision=True,
    ).eval()


@st.composite
def tilings(draw: st.DrawFn) -> dict[str, Any]:
    step = draw(st.sampled_from([1, 4, 8]))
    half = max(1, step // 2)
    smallest = [step * draw(st.integers(3, 6)) for _ in range(3)]
    return {
        "image": [draw(st.integers(1, 90)) for _ in range(3)],
        "smallest": smallest,
        "margin": [half * draw(st.integers(0, (side - step) // 2 // half)) for side in smallest],
        "step": step,
        "most_voxels": math.prod(smallest) * draw(st.floats(0.5, 40)),
    }


@given(tilings())
def test_tiles_cover_the_image_once_each_voxel_far_inside_its_window(given: dict[str, Any]) -> None:
    tiling = Tiling.over(**given)
    covered = np.zeros(tiling.size, dtype=int)
    for box, core in tiling.boxes():
        covered[core] += 1
        for axis, (seen, kept) in enumerate(zip(box, core, strict=True)):
            assert seen.start % given["step"] == 0 and (seen.stop - seen.start) % given["step"] == 0
            assert kept.start - seen.start >= given["margin"][axis] or seen.start == 0
            assert seen.stop - kept.stop >= given["margin"][axis] or seen.stop == tiling.size[axis]
    assert (covered == 1).all()
    assert math.prod(tiling.window) <= given["most_voxels"] or list(tiling.window) == given["smallest"]


def test_network_tells_by_how_much_its_windows_can_grow() -> None:
    assert Forecast(CONVOLUTIONS, 1).step([32] * 3) == 1
    assert Forecast(unet(), 1).step([32] * 3) == 4
    assert Forecast(dynunet(), 1).step([64] * 2) == 8
    assert Forecast(dynunet(6), 1).step([64] * 2) == 32
    assert Forecast(torch.nn.Flatten(), 1).step([32] * 3) is None


def test_forecast_leaves_the_network_as_it_is() -> None:
    network = dynunet()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        before = network(image)
        Forecast(network, 1, torch.bfloat16).step([64, 64])
        assert torch.equal(network(image), before)


def test_network_that_keeps_what_it_gave_in_a_training_can_be_asked() -> None:
    network = dynunet().train()
    network(torch.randn(2, 1, 64, 64)).sum().backward()
    assert Forecast(network.eval(), 1).step([64] * 2) == 8


@pytest.mark.parametrize("size", [(41, 30, 26), (1, 50, 33), (9, 9, 9)])
@pytest.mark.parametrize("memory", [1e5, 1e6, 1e12])
@torch.no_grad()
def test_large_windows_say_what_one_pass_over_the_padded_image_says(size: tuple[int, ...], memory: float) -> None:
    """A network that sees less far than the margin cannot tell a large window from the whole image."""
    image = torch.randn(1, 1, *size)
    roi = 12
    before = [max(0, roi - side) // 2 for side in size]
    pads = [p for side, b in zip(reversed(size), reversed(before), strict=True) for p in (b, max(0, roi - side) - b)]
    whole = CONVOLUTIONS(torch.nn.functional.pad(image, pads))
    expected = whole[(slice(None), slice(None), *(slice(b, b + s) for b, s in zip(before, size, strict=True)))]
    found = SlidingWindow(roi, overlap=0.5, window="auto", memory=memory)(image, CONVOLUTIONS)
    assert torch.allclose(found, expected, atol=1e-5)


@torch.no_grad()
def test_fewer_windows_are_run_the_more_memory_there_is() -> None:
    network, runs = unet(), []

    def note(_: Any, seen: tuple[torch.Tensor], __: Any) -> None:
        if not seen[0].is_meta:
            runs.append(tuple(seen[0].shape[2:]))

    network.register_forward_hook(note)
    image = torch.randn(1, 1, 60, 44, 52)
    counts = []
    for memory in (1e5, 1e6, 1e12):
        runs.clear()
        SlidingWindow(16, overlap=0.5, window="auto", memory=memory)(image, network)
        counts.append(len(runs))
    assert counts[0] > counts[1] > counts[2] == 1
    assert runs == [(60, 44, 52)]


@pytest.mark.parametrize(("roi", "overlap"), [(12, 0.5), (12, 0), (4, 0.7), (2, 0), (1, 0)])
@torch.no_grad()
def test_pieces_of_large_windows_cover_the_image_once(roi: int, overlap: float) -> None:
    size = (50, 20, 41)
    seen = torch.zeros(size)
    inferer = SlidingWindow(roi, overlap=overlap, window="auto", memory=1e6)
    for piece in inferer.pieces(torch.randn(1, *size), CONVOLUTIONS):
        seen[piece.core] += 1
        for core, start, held, length in zip(piece.core, piece.start, piece.logits.shape[1:], size, strict=True):
            assert start <= core.start and min(core.stop, length - 1) < start + held
    assert (seen == 1).all()


@torch.no_grad()
def test_large_windows_of_air_are_left_out() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 50:, 50:] = 1
    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    torch.nn.init.constant_(network.weight, 0.1)
    network.bias.data = torch.tensor([0.05, 0.0])
    network.weight.data[0] = 0
    found = {
        skip: SlidingWindow(16, overlap=0.5, window="auto", memory=2e4, skip_below=skip)(image, network).argmax(1)
        for skip in (None, 0.0)
    }
    assert found[None].any() and torch.equal(found[None], found[0.0])


@torch.no_grad()
def test_where_the_sums_of_all_classes_do_not_fit_windows_lie_side_by_side(caplog: pytest.LogCaptureFixture) -> None:
    image = torch.randn(1, 1, 40, 30, 30)
    blended = SlidingWindow(12, overlap=0.5, mode="gaussian")(image, CONVOLUTIONS)
    assert not caplog.records
    found = SlidingWindow(12, overlap=0.5, mode="gaussian", memory=1e5)(image, CONVOLUTIONS)
    assert "are not blended" in caplog.text
    assert torch.allclose(found, CONVOLUTIONS(image), atol=1e-5) and not torch.equal(found, blended)


@torch.no_grad()
def test_every_step_that_memory_forces_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    image = torch.randn(1, 1, 40, 30, 30)
    plenty = SlidingWindow(12, overlap=0.5)
    plenty(image, CONVOLUTIONS)
    assert not caplog.messages and plenty.needed is not None
    for settings in ({"memory": 0.8 * plenty.needed}, {"window": "auto", "memory": 0.8 * plenty.needed}):
        inferer = SlidingWindow(12, overlap=0.5, **settings)
        for _ in range(2):
            inferer(image, CONVOLUTIONS)
    fewer, smaller = caplog.messages
    assert fewer.startswith("memory holds ") and fewer.endswith(" of 4 windows of (12, 12, 12) at once")
    assert smaller.startswith("memory holds windows of ") and smaller.endswith(", not the image of (40, 30, 30)")


@pytest.mark.parametrize(("window", "runs"), [("trained", 9), ("auto", 9), ("largest", 1)])
@torch.no_grad()
def test_network_that_normalises_windows_keeps_those_it_was_trained_with(window: str, runs: int) -> None:
    network, sizes = dynunet(), []

    def note(_: Any, seen: tuple[torch.Tensor], __: Any) -> None:
        if not seen[0].is_meta:
            sizes.extend([tuple(seen[0].shape[2:])] * len(seen[0]))

    network.register_forward_hook(note)
    SlidingWindow(32, overlap=0.5, window=window)(torch.randn(1, 1, 64, 64), network)
    assert len(sizes) == runs


@torch.no_grad()
def test_squeeze_and_excitation_keeps_the_windows_it_was_trained_with() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 2, 3, padding=1), ResidualSELayer(spatial_dims=3, in_channels=2)
    ).eval()
    image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = SlidingWindowInferer((16, 16, 16), overlap=0.5)(image, network)
    ours = SlidingWindow((16, 16, 16), overlap=0.5, window="auto")(image, network)
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-5, rtol=0)


def test_network_that_cannot_be_forecast_is_not_said_to_refuse_windows(caplog: pytest.LogCaptureFixture) -> None:
    class LooksAtValues(torch.nn.Conv3d):  # of which tensors without values have none
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return super().forward(image if float(image.sum()) < 1e9 else -image)

    network = LooksAtValues(1, 2, 3, padding=1)
    with caplog.at_level("INFO"):
        SlidingWindow((16, 16, 16), window="auto")(torch.zeros(1, 1, 32, 32, 32), network)
    assert "the network is not one that can be forecast; windows of (16, 16, 16) are taken" in caplog.text


def test_fewer_windows_go_through_at_once_where_the_memory_is_short() -> None:
    network, batches = unet(), []

    def note(_: Any, seen: tuple[torch.Tensor], __: Any) -> None:
        if not seen[0].is_meta:
            batches.append(len(seen[0]))

    network.register_forward_hook(note)
    image = torch.randn(1, 1, 20, 60, 60)
    ample = SlidingWindow(16, 30, 0.5, "gaussian")
    expected = ample(image, network)
    assert ample.needed is not None and max(batches) == 30
    for declared, left in ((0.6, 1.5), (1.5, 0.6)):  # by the bundle, and by who runs it
        short = SlidingWindow(16, 30, 0.5, "gaussian", memory=declared * ample.needed)
        short.memory = left * ample.needed
        batches.clear()
        found = short(image, network)
        assert 1 <= max(batches) < 30 and short.needed is not None and short.needed <= 0.6 * ample.needed
        assert torch.allclose(found, expected, atol=1e-5)


@torch.no_grad()
def test_what_windows_need_is_told_before_the_first_is_run() -> None:
    image, told = torch.randn(1, 60, 44, 52), []
    for memory in (1e6, 2e6, 1e12):
        inferer = SlidingWindow(16, overlap=0.5, window="auto", memory=memory)
        inferer.pieces(image, unet())
        told.append(inferer.needed)
        assert inferer.needed is not None and inferer.needed <= memory
    assert told[0] < told[1] < told[2]
