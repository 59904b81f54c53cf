"""A network made fast says what it said before."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.nets import DynUNet, UNet
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from medseg.inference.backends import TorchForward
from medseg.inference.backends.onednn import Onednn

CPU = torch.device("cpu")


def spleen_unet() -> nn.Module:
    """The network of bundles/spleen_ct_3d with fewer channels."""
    return UNet(3, 1, 2, channels=[8, 16, 32], strides=[2, 2], num_res_units=2, norm="BATCH")


def hippocampus_dynunet() -> nn.Module:
    """The network of bundles/hippocampus_mri_3d with fewer channels, its deep supervision included."""
    norm = ("INSTANCE", {"affine": True})
    kernels, strides = [3, 3, 3, 3], [1, 2, 2, 2]
    filters = [8, 16, 32, 64]
    return DynUNet(
        3, 1, 3, kernels, strides, strides[1:], filters=filters, norm_name=norm, deep_supervision=True, deep_supr_num=2
    )


def retina_dynunet() -> nn.Module:
    """The network of bundles/retina_vessels_2d with fewer channels."""
    return DynUNet(2, 3, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[8, 16, 32], norm_name="BATCH")


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "spleen": (spleen_unet, (1, 24, 32, 16)),
    "hippocampus": (hippocampus_dynunet, (1, 24, 32, 16)),
    "retina": (retina_dynunet, (3, 48, 64)),
}


@pytest.fixture(params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, torch.Tensor]:
    """A network whose normalisations do something, and a batch of windows."""
    build, shape = NETWORKS[request.param]
    torch.manual_seed(0)
    network = build().eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            for numbers, low, high in ((module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2.0)):
                nn.init.uniform_(numbers, low, high)
        if getattr(module, "affine", False):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network, torch.randn(2, *shape)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest logit."""
    assert found.shape == expected.shape
    return float((found.float() - expected).abs().max() / expected.abs().max())


def logits(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(batch)


def operations(call: Callable[[], object]) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        call()
    return {event.key for event in seen.key_averages()}


@pytest.mark.parametrize(("precision", "allowed"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_torch_gives_the_network_s_logits(
    case: tuple[nn.Module, torch.Tensor], precision: torch.dtype, allowed: float
) -> None:
    network, batch = case
    assert error(TorchForward(network, CPU, precision)(batch), logits(network, batch)) < allowed


def test_torch_folds_every_batch_norm_and_leaves_the_network_alone(case: tuple[nn.Module, torch.Tensor]) -> None:
    network, batch = case
    before = copy.deepcopy(network.state_dict())
    forward = TorchForward(network, CPU, torch.float32)
    assert "aten::batch_norm" not in operations(lambda: forward(batch))
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_batch_norm_that_another_layer_looks_past_is_not_folded() -> None:
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            maps = self.convolution(image)
            return maps + self.norm(maps)

    network = Skipping().eval()
    nn.init.uniform_(network.norm.running_var, 2.0, 4.0)
    batch = torch.randn(2, 1, 9, 9)
    assert error(TorchForward(network, CPU, torch.float32)(batch), logits(network, batch)) < 1e-5


def test_a_network_that_cannot_be_followed_is_taken_as_it_is() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            maps = self.norm(self.convolution(image))
            return maps if image.mean() > 0 else -maps

    network = Branching().eval()
    forward = TorchForward(network, CPU, torch.float32)
    for batch in (torch.rand(1, 1, 8, 8), -torch.rand(1, 1, 8, 8)):
        assert error(forward(batch), logits(network, batch)) < 1e-5


def test_a_window_s_logits_do_not_depend_on_its_batch(case: tuple[nn.Module, torch.Tensor]) -> None:
    network, batch = case
    forward = TorchForward(network, CPU, torch.float32)
    assert torch.equal(forward(batch)[1:], forward(batch[1:]))


def test_one_small_window_is_never_left_to_slow_conv3d() -> None:
    network, batch = hippocampus_dynunet().eval(), torch.randn(1, 1, 16, 16, 16)
    assert "aten::slow_conv3d" in operations(lambda: logits(network, batch)), "torch has mended it: drop Onednn"
    seen = operations(lambda: TorchForward(network, CPU, torch.float32)(batch))
    assert "aten::mkldnn_convolution" in seen
    assert "aten::slow_conv3d" not in seen


@pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")  # torch, of what it copies
@given(
    kernel=st.tuples(*[st.integers(1, 4)] * 3),
    padding=st.one_of(st.sampled_from(["same", "valid"]), st.integers(0, 2), st.tuples(*[st.integers(0, 2)] * 3)),
    dilation=st.integers(1, 2),
    stride=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
def test_onednn_computes_what_torch_does(
    kernel: tuple[int, ...], padding: str | int, dilation: int, stride: int, groups: int, bias: bool
) -> None:
    image, weight = torch.randn(1, 4, 9, 10, 11), torch.randn(6, 4 // groups, *kernel)
    given = {
        "bias": torch.randn(6) if bias else None,
        "padding": padding,
        "dilation": dilation,
        "stride": 1 if padding == "same" else stride,
        "groups": groups,
    }
    expected = F.conv3d(image, weight, **given)
    with Onednn():
        found = F.conv3d(image, weight, **given)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
