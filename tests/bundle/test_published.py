"""Published weights become the bundle's own, or it is said that there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from medseg.bundle.published import take_published
from medseg.bundle.run import find_bundle
from medseg.bundle.trained import trained
from medseg.bundle.weights import load_weights
from medseg.cli.main import app
from medseg.errors import BundleError
from medseg.networks import BrainUNet


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as its authors publish it, with weights of chance."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / "unet.pt"
    torch.save(BrainUNet().state_dict(), path)
    return path


def test_brain_weights_say_the_same_in_the_bundles_network(published: Path, tmp_path: Path) -> None:
    bundle, target = find_bundle("brain_lgg_2d"), tmp_path / "new" / "model.pt"
    assert take_published(bundle, str(published), target) == target
    network, theirs = trained(str(bundle)).get_parsed_content("network_def").eval(), BrainUNet().eval()
    load_weights(network, target)
    theirs.load_state_dict(torch.load(published, weights_only=True))
    image = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        foreground, expected = network(image).softmax(dim=1)[:, 1:], theirs(image).sigmoid()
    torch.testing.assert_close(foreground, expected)
    assert expected.std() > 0


def test_command_says_where_it_wrote(published: Path, tmp_path: Path) -> None:
    words = ["weights", "brain_lgg_2d", "--source", str(published), "-o", str(tmp_path / "model.pt")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"wrote {tmp_path / 'model.pt'}" in done.output
    assert (tmp_path / "model.pt").is_file()


def test_weights_go_into_the_bundle_where_no_other_place_is_given(published: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "configs").symlink_to(find_bundle("brain_lgg_2d") / "configs")
    assert take_published(tmp_path / "mine", str(published)) == tmp_path / "mine" / "models" / "model.pt"
    assert (tmp_path / "mine" / "models" / "model.pt").is_file()


def test_bundle_without_published_weights_is_told(published: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"there are no published weights for this network, UNet; choose another"):
        take_published(find_bundle("phantom_ct_3d"), str(published), tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


def test_file_that_is_not_there_or_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    bundle, target = find_bundle("brain_lgg_2d"), tmp_path / "model.pt"
    with pytest.raises(BundleError, match=r"none\.pt: no weights there"):
        take_published(bundle, str(tmp_path / "none.pt"), target)
    torch.save(BrainUNet(init_features=4).state_dict(), tmp_path / "small.pt")
    with pytest.raises(BundleError, match=r"small\.pt: these weights do not fit the network"):
        take_published(bundle, str(tmp_path / "small.pt"), target)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(BundleError, match=r"other\.pt: without conv\.weight, so not a BrainUNet's; give unet-"):
        take_published(bundle, str(tmp_path / "other.pt"), target)
    assert not target.exists()
