"""The published state dict fits name by name, and two softmax channels say the same as its sigmoid."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from medseg.errors import BundleError, ConfigError
from medseg.networks import BrainUNet, as_two_channels, brain_unet, published_weights

# Block, channels in and channels out, as mateuszbuda/brain-segmentation-pytorch names them.
BLOCKS = [
    ("encoder1", "enc1", 3, 32),
    ("encoder2", "enc2", 32, 64),
    ("encoder3", "enc3", 64, 128),
    ("encoder4", "enc4", 128, 256),
    ("bottleneck", "bottleneck", 256, 512),
    ("decoder4", "dec4", 512, 256),
    ("decoder3", "dec3", 256, 128),
    ("decoder2", "dec2", 128, 64),
    ("decoder1", "dec1", 64, 32),
]


def published_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"conv.weight": (1, 32, 1, 1), "conv.bias": (1,)}
    for block, short, into, out in BLOCKS:
        for number, width in ((1, into), (2, out)):
            shapes[f"{block}.{short}conv{number}.weight"] = (out, width, 3, 3)
            for name in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{block}.{short}norm{number}.{name}"] = (out,)
            shapes[f"{block}.{short}norm{number}.num_batches_tracked"] = ()
    for level, into, out in ((4, 512, 256), (3, 256, 128), (2, 128, 64), (1, 64, 32)):
        shapes[f"upconv{level}.weight"] = (into, out, 2, 2)
        shapes[f"upconv{level}.bias"] = (out,)
    return shapes


def test_names_shapes_and_count_are_the_published() -> None:
    with torch.device("meta"):
        network = BrainUNet()
    assert {name: tuple(each.shape) for name, each in network.state_dict().items()} == published_shapes()
    assert sum(each.numel() for each in network.parameters()) == 7_763_041


def test_published_file_gives_its_weights_back(tmp_path: Path) -> None:
    state = {
        name: torch.tensor(7) if name.endswith("tracked") else torch.rand(shape)
        for name, shape in published_shapes().items()
    }
    torch.save(state, tmp_path / "unet.pt")
    network = BrainUNet()
    network.load_state_dict(published_weights(str(tmp_path / "unet.pt")))
    assert all(torch.equal(each, state[name]) for name, each in network.state_dict().items())


def test_hub_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"conv.bias": torch.tensor([3.0])}, tmp_path / "unet-e012d006.pt")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(brain_unet, "_HUB", (tmp_path / "unet-e012d006.pt").as_uri())
    assert published_weights("hub") == {"conv.bias": torch.tensor([3.0])}


def test_weights_that_cannot_be_had_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str, **_: Any) -> None:
        assert url.startswith("https://github.com/mateuszbuda/brain-segmentation-pytorch/releases/download/v1.0/")
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(BundleError, match=r"unet-e012d006\.pt: cannot be fetched .*give its path$"):
        published_weights("hub")
    with pytest.raises(BundleError, match=r"unet\.pt: no weights there"):
        published_weights(tmp_path / "unet.pt")


def test_two_channels_have_the_sigmoids_probabilities() -> None:
    torch.manual_seed(0)
    one, two = BrainUNet(3, 1, init_features=4).eval(), BrainUNet(3, 2, init_features=4).eval()
    two.load_state_dict(as_two_channels(one.state_dict()))
    image = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        published, ours = torch.sigmoid(one(image)), torch.softmax(two(image), dim=1)
    torch.testing.assert_close(ours[:, 1:], published)
    torch.testing.assert_close(ours[:, :1], 1 - published)


def test_only_one_channel_becomes_two() -> None:
    with pytest.raises(BundleError, match=r"^state dict: of 2 output channels, and only 1 can become 2; give unet-"):
        as_two_channels(as_two_channels(BrainUNet(init_features=2).state_dict()))
    with pytest.raises(BundleError, match="of 0 output channels"):
        as_two_channels({"conv.weight": torch.tensor(1.0), "conv.bias": torch.tensor(1.0)})
    with pytest.raises(BundleError, match=r"^my\.pt: without conv\.weight, .*; give unet-e012d006\.pt .*'hub'"):
        as_two_channels({}, "my.pt")


def test_sides_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"image of 32 x 50: .* pad it to 32 x 64"):
        BrainUNet(init_features=2)(torch.rand(1, 3, 32, 50))


def test_what_comes_up_stands_before_the_skip() -> None:
    """The published convolutions expect this order: with their second half at zero no skip is seen."""
    network = BrainUNet(init_features=4).eval()
    torch.nn.init.zeros_(network.upconv1.weight)
    with torch.no_grad():
        first = network.decoder1[0]
        first.weight[:, 4:] = 0
        one, other = network(torch.rand(1, 3, 32, 32)), network(torch.rand(1, 3, 32, 32))
        assert torch.equal(one, other)
        first.weight[:, 4:] = 1
        assert not torch.equal(network(torch.rand(1, 3, 32, 32)), other)
