"""A network made fast says what it said before."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.nets import DynUNet, UNet
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from medseg.bundle.run import find_bundle
from medseg.bundle.trained import trained
from medseg.bundle.weights import load_weights, save_weights
from medseg.errors import ConfigError
from medseg.inference import Ensemble, SlidingWindow
from medseg.inference.backends import BACKENDS, Forward, prepare, with_openvino
from medseg.inference.backends.lightened import lightened
from medseg.inference.backends.onednn import Onednn
from medseg.inference.backends.sample_images import small_image
from medseg.inference.backends.with_torch import TorchForward
from medseg.inference.prepared import Prepared

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


@pytest.mark.parametrize("norm", [partial(nn.InstanceNorm3d, affine=True), partial(nn.GroupNorm, 2)])
def test_in_fp32_a_large_window_is_normalised_as_exactly_as_by_torch(norm: Callable[[int], nn.Module]) -> None:
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), norm(4)).eval()
    window = 5 + torch.randn(1, 1, 128, 128, 96)
    assert error(TorchForward(network, CPU, torch.float32)(window), logits(network, window)) < 1e-5


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


needs_openvino = pytest.mark.skipif(
    not with_openvino.installed(), reason="needs openvino: pip install 'medseg[openvino]'"
)


def ready(network: nn.Module, batch: torch.Tensor, windows: int | None = None, **given: Any) -> Forward:
    defaults = {"backend": "openvino", "device": CPU, "precision": torch.float32}
    return prepare(network, **(defaults | given)).forward_for(batch.shape[2:], batch.shape[1], windows)


@needs_openvino
@pytest.mark.parametrize(("precision", "allowed"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_openvino_gives_the_network_s_logits_whatever_the_window(
    case: tuple[nn.Module, torch.Tensor], precision: torch.dtype, allowed: float
) -> None:
    network, batch = case
    forward = ready(network, batch, precision=precision)
    assert forward.name == "openvino"
    larger = torch.randn(3, batch.shape[1], *(side + 16 for side in batch.shape[2:]))
    for windows in (batch, batch[:1], larger):
        assert error(forward(windows), logits(network, windows)) < allowed


@needs_openvino
def test_openvino_keeps_what_it_gave(case: tuple[nn.Module, torch.Tensor]) -> None:
    network, batch = case
    forward = ready(network, batch)
    first = forward(batch[:1])
    kept = first.clone()
    forward(batch[1:])
    assert torch.equal(first, kept)


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_trained_hippocampus_network_labels_the_same(backend: str, precision: torch.dtype, data_dir: Path) -> None:
    import nibabel

    bundle = find_bundle("hippocampus_mri_3d")
    network = trained(str(bundle)).network_def
    load_weights(network, bundle / "models" / "model.pt")
    scan = min((data_dir / "hippocampus" / "images").glob("*.nii.gz"))
    voxels = torch.as_tensor(nibabel.load(scan).get_fdata(dtype="float32"))
    window = ((voxels - voxels.mean()) / voxels.std())[None, None, :24, :40, :24]
    expected = logits(network.eval(), window)
    found = ready(network, window, backend=backend, precision=precision)(window)
    assert error(found, expected) < (1e-4 if precision is torch.float32 else 0.05)
    changed = (found.argmax(dim=1) != expected.argmax(dim=1)).float().mean()
    assert changed < (1e-4 if precision is torch.float32 else 0.005)


class DecidesByValues(nn.Conv2d):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image if image.mean() < 0.25 else -image)


class DecidesBySize(nn.Conv2d):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image if image.shape[2] < 40 else -image)


class DecidesByTheLastSide(nn.Conv3d):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image if image.shape[-1] < 40 else -image)


class GivesAList(nn.Module):
    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [image]


@needs_openvino
@pytest.mark.parametrize("network", [DecidesByValues(1, 2, 3).eval(), DecidesBySize(1, 2, 3).eval()])
def test_a_network_that_decides_on_its_way_is_left_to_torch_which_is_said(
    network: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    batch = 1 + torch.randn(1, 1, 64, 64)
    with caplog.at_level(logging.WARNING):
        forward = ready(network, batch)
    assert forward.name == "torch"
    assert "decides by the size or the values of its input" in caplog.text
    assert error(forward(batch), logits(network, batch)) < 1e-5


@needs_openvino
def test_a_network_that_decides_by_any_side_is_left_to_torch(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        forward = ready(DecidesByTheLastSide(1, 2, 3).eval(), torch.randn(1, 1, 64, 64, 64))
    assert forward.name == "torch" and "decides by the size" in caplog.text


@needs_openvino
def test_a_network_without_a_tensor_is_left_to_torch_which_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert ready(GivesAList(), torch.randn(1, 1, 8, 8)).name == "torch"
    assert "gives a list, not a tensor" in caplog.text


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_an_ensemble_s_members_are_prepared_each(backend: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.pt" for number in range(2)]
    for path in paths:
        save_weights(retina_dynunet(), path)
    ensemble = Ensemble(retina_dynunet(), [str(path) for path in paths]).eval()
    batch = torch.randn(2, 3, 48, 64)
    forward = ready(ensemble, batch, backend=backend)
    assert forward.name == backend
    assert error(forward(batch), logits(ensemble, batch)) < 1e-4


class ConstantNotRegistered(nn.Conv3d):
    """A network that cannot be followed without values."""

    shift = torch.ones(1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape[2] < 64:
            raise ValueError("too small")
        return super().forward(image) + self.shift


def deep_dynunet() -> nn.Module:
    """Five poolings, the last of which leaves one voxel of 32 a side: an instance norm refuses it."""
    strides = [1, 2, 2, 2, 2, 2]
    return DynUNet(3, 1, 2, [3] * 6, strides, strides[1:], filters=[2] * 6).eval()


@pytest.mark.parametrize(
    ("build", "size"), [(deep_dynunet, (64, 32, 32)), (lambda: ConstantNotRegistered(1, 2, 3), (64, 32, 32))]
)
def test_the_image_to_follow_a_network_with_is_as_small_as_it_takes(
    build: Callable[[], nn.Module], size: tuple[int, ...]
) -> None:
    network = build()
    image = small_image(network, (96, 96, 96), 1)
    assert image.shape[2:] == size
    assert not network(image).is_meta


@needs_openvino
@pytest.mark.parametrize(
    ("build", "precision", "windows", "expected"),
    [
        (hippocampus_dynunet, torch.bfloat16, 1, "torch"),
        (hippocampus_dynunet, torch.bfloat16, 100_000, "openvino"),
        (hippocampus_dynunet, torch.bfloat16, None, "torch"),
        (spleen_unet, torch.float32, 100_000, "openvino"),
        (spleen_unet, torch.bfloat16, 100_000, "torch"),
    ],
)
def test_auto_takes_openvino_where_it_pays(
    build: Callable[[], nn.Module], precision: torch.dtype, windows: int | None, expected: str
) -> None:
    batch = torch.randn(1, 1, 32, 32, 32)
    forward = ready(build().eval(), batch, backend="auto", precision=precision, windows=windows)
    assert forward.name == expected


@needs_openvino
def test_an_image_is_computed_by_the_same_backend_whatever_came_before_it() -> None:
    network = Prepared(hippocampus_dynunet().eval(), backend="auto", device=CPU, precision="bf16", images=1000)
    small, large = torch.randn(1, 1, 32, 32, 32), torch.randn(1, 1, 64, 64, 64)
    inferer = SlidingWindow((32, 32, 32), overlap=0.75)
    alone = inferer(small, network).clone()
    inferer(large, network)
    assert torch.equal(inferer(small, network), alone)


@needs_openvino
@pytest.mark.parametrize(("classes", "expected"), [(2, "openvino"), (200, "torch")])
def test_auto_takes_torch_where_openvinos_logits_would_fill_the_memory(classes: int, expected: str) -> None:
    network = UNet(3, 1, classes, (4, 8), (2,), norm="BATCH").eval()
    assert ready(network, torch.zeros(1, 1, 64, 64, 64), backend="auto", windows=10**9).name == expected


def test_without_openvino_auto_takes_torch_and_asking_for_it_tells_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_openvino, "installed", lambda: False)
    network, batch = retina_dynunet().eval(), torch.randn(1, 3, 32, 32)
    assert ready(network, batch, backend="auto", windows=10**9).name == "torch"
    with pytest.raises(ConfigError, match=r"pip install 'medseg\[openvino\]'"):
        ready(network, batch)


def test_a_backend_that_is_none_or_not_for_the_device_is_named() -> None:
    network, batch = retina_dynunet().eval(), torch.randn(1, 3, 32, 32)
    with pytest.raises(ConfigError, match=f"'onnx' is not known: use {', '.join(BACKENDS)}"):
        ready(network, batch, backend="onnx")
    with pytest.raises(ConfigError, match="computes on the CPU, not on cuda"):
        ready(network, batch, device=torch.device("cuda"))


def test_modules_of_other_threads_compute_while_a_network_is_followed() -> None:
    """As the next scan is resampled meanwhile: torch's tracing takes the place of every module's call."""
    elsewhere: list[torch.Tensor] = []

    class Meanwhile(nn.Sequential):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            other = threading.Thread(target=lambda: elsewhere.append(nn.Upsample(scale_factor=2)(torch.ones(1, 1, 2))))
            other.start()
            other.join()
            return super().forward(image)

    light = lightened(Meanwhile(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval(), torch.device("cpu"), torch.float32)
    assert isinstance(light[1], nn.Identity), "it was followed"
    assert [tuple(each.shape) for each in elsewhere] == [(1, 1, 4)]
