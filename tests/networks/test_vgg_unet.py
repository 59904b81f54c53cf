"""VGG16's published weights load by name, and what does not fit is named."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from medseg.errors import BundleError, ConfigError
from medseg.networks import VGG16UNet, vgg_unet

# torchvision's vgg16, configuration D: 64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M.
CONVOLUTIONS = {
    0: (64, 3),
    2: (64, 64),
    5: (128, 64),
    7: (128, 128),
    10: (256, 128),
    12: (256, 256),
    14: (256, 256),
    17: (512, 256),
    19: (512, 512),
    21: (512, 512),
    24: (512, 512),
    26: (512, 512),
    28: (512, 512),
}
CLASSIFIER = {0: (4096, 512 * 7 * 7), 3: (4096, 4096), 6: (1000, 4096)}


def started(source: str | Path) -> VGG16UNet:
    network = VGG16UNet()
    network.load_published(source)
    return network


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """Names and shapes of vgg16-397923af.pth with other numbers; a classifier that takes no space."""
    state = {}
    for index, (out, into) in CONVOLUTIONS.items():
        state[f"features.{index}.weight"] = torch.randn(out, into, 3, 3) * 0.05
        state[f"features.{index}.bias"] = torch.full((out,), float(index))
    for index, (out, into) in CLASSIFIER.items():
        state[f"classifier.{index}.weight"] = torch.zeros(1).expand(out, into)
        state[f"classifier.{index}.bias"] = torch.zeros(1).expand(out)
    return state


@pytest.fixture(scope="module")
def weights(published: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(published, path)
    return path


def test_published_weights_load_name_by_name(weights: Path, published: dict[str, torch.Tensor]) -> None:
    loaded = started(str(weights)).state_dict()
    names = {name for name in loaded if name.startswith("features.")}
    assert names == {name for name in published if name.startswith("features.")}
    assert all(torch.equal(loaded[name], published[name]) for name in names)


def test_way_down_has_vggs_parameters() -> None:
    with torch.device("meta"):
        network = VGG16UNet()
    assert sum(each.numel() for each in network.features.parameters()) == 14_714_688  # 138 357 544 less the classifier


@pytest.mark.parametrize(("in_channels", "size"), [(3, (32, 64)), (1, (37, 50))])
def test_output_is_as_large_as_any_image(in_channels: int, size: tuple[int, int]) -> None:
    network = VGG16UNet(in_channels, 2, decoder=(8, 8, 8, 8, 8)).eval()
    with torch.no_grad():
        assert network(torch.rand(1, in_channels, *size)).shape == (1, 2, *size)


def test_every_stage_reaches_the_output() -> None:
    network = VGG16UNet(decoder=(8, 8, 8, 8, 8))
    network(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in network.features.parameters() if each.ndim > 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"features.0.weight": torch.zeros(64, 1, 3, 3)}, r"do not fit the network: .*size mismatch for 0\.weight"),
        ({"features.28.bias": None}, r"do not fit the network: .*Missing key.*28\.bias"),
        ({"features.1.weight": torch.zeros(64)}, r"do not fit the network: .*Unexpected key.*1\.weight"),
        ({"conv1.weight": torch.zeros(64)}, r"not torchvision's vgg16, it has 'conv1\.weight'; give vgg16-"),
    ],
)
def test_other_weights_are_named(
    published: dict[str, torch.Tensor], tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    state = {name: tensor for name, tensor in {**published, **change}.items() if tensor is not None}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(BundleError, match=rf"other\.pth: (these weights )?{says}") as error:
        started(tmp_path / "other.pth")
    assert "\n" not in str(error.value) and "; give " in str(error.value)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"vgg\.pth: no weights there"):
        started(str(tmp_path / "vgg.pth"))
    (tmp_path / "vgg.pth").write_text("not a checkpoint")
    with pytest.raises(BundleError, match=r"vgg\.pth: not a readable state dict"):
        started(str(tmp_path / "vgg.pth"))
    torch.save({"epoch": 3}, tmp_path / "vgg.pth")
    with pytest.raises(BundleError, match=r"vgg\.pth: not a state dict of named tensors; save `model\.state_dict"):
        started(str(tmp_path / "vgg.pth"))


def test_imagenet_is_fetched_and_checked(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for start, fits in (("00000000", False), (digest[:8], True)):
        shelf = weights.with_name(f"vgg16-{start}.pth")
        shelf.hardlink_to(weights)
        monkeypatch.setattr(vgg_unet, "_IMAGENET", shelf.as_uri())
        if fits:
            assert float(started("imagenet").state_dict()["features.28.bias"][0]) == 28
        else:
            with pytest.raises(BundleError, match=r"invalid hash value"):
                started("imagenet")


def test_unreachable_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str, **_: Any) -> None:
        assert url == "https://download.pytorch.org/models/vgg16-397923af.pth"
        raise URLError("no route\nto host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(BundleError, match=r"vgg16-397923af\.pth: cannot be fetched .*; download it .* give its path$"):
        started("imagenet")


def test_wrong_arguments_are_named(weights: Path) -> None:
    with pytest.raises(ConfigError, match="in_channels 1"):
        VGG16UNet(1).load_published(weights)
    with pytest.raises(ConfigError, match=r"decoder \[8, 8\]"):
        VGG16UNet(decoder=(8, 8))
    with pytest.raises(ConfigError, match="image of 31 x 64: pad it to 32 pixels"):
        VGG16UNet(decoder=(8, 8, 8, 8, 8))(torch.rand(1, 3, 31, 64))
