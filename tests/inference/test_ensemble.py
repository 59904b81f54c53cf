"""Several weights of one network give the mean of their probabilities."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from medseg.bundle.run import run_bundle
from medseg.bundle.trained import trained, trained_networks
from medseg.bundle.weights import save_weights
from medseg.errors import BundleError
from medseg.inference import Ensemble


def test_probabilities_are_the_mean_of_the_members(tmp_path: Path) -> None:
    networks = [nn.Conv2d(1, 3, 1) for _ in range(3)]
    paths = [str(tmp_path / f"{number}.pt") for number in range(3)]
    for network, path in zip(networks, paths, strict=True):
        save_weights(network, Path(path))
    image = torch.randn(2, 1, 5, 4)
    expected = torch.stack([network(image).softmax(dim=1) for network in networks]).mean(dim=0)
    found = Ensemble(nn.Conv2d(1, 3, 1), paths)(image)
    torch.testing.assert_close(found.softmax(dim=1), expected)


def test_members_answer_for_the_architecture(tmp_path: Path) -> None:
    save_weights(nn.Conv2d(1, 2, 1), tmp_path / "a.pt")
    ensemble = Ensemble(nn.Conv2d(1, 2, 1), [str(tmp_path / "a.pt")])
    assert ensemble.out_channels == 2
    with pytest.raises(AttributeError, match="margin"):
        _ = ensemble.margin


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    save_weights(nn.Conv2d(1, 3, 1), tmp_path / "other.pt")
    with pytest.raises(BundleError, match=r"other.pt: these weights do not fit"):
        Ensemble(nn.Conv2d(1, 2, 1), [str(tmp_path / "other.pt")])


def test_members_of_several_bundles_are_run_on_one_grid(tiny_bundle: Path, phantom: Path, tmp_path: Path) -> None:
    other = wider(tiny_bundle, tmp_path)
    scan = phantom / "images" / "case_001.nii.gz"
    members = {name: folder / "models" / "model.pt" for name, folder in {"tiny": tiny_bundle, "other": other}.items()}

    def probabilities(name: str, checkpoint: str | list[str]) -> NDArray[np.float64]:
        bundle = other if name == "other" else tiny_bundle
        given = {"input": str(scan), "output_dir": str(tmp_path / name), "checkpoint": checkpoint}
        run_bundle(bundle, "inference.yaml", overrides=given | {"save_probabilities": True, "precision": "fp32"})
        found: NDArray[np.float64] = nib.load(tmp_path / name / "case_001_probabilities.nii.gz").get_fdata()
        return found

    alone = [probabilities(name, str(path)) for name, path in members.items()]
    both = probabilities("both", [str(path) for path in members.values()])
    # Windows are blended after the mean is taken, so it is not quite the mean of what is blended.
    apart = np.abs(alone[0] - alone[1]).mean()
    assert apart > 0.02 and np.abs(both - np.mean(alone, axis=0)).mean() < 0.2 * apart


def test_members_with_other_grids_or_classes_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    metadata = json.loads((tiny_bundle / "configs" / "metadata.json").read_text())
    weights = [str(folder / "models" / "model.pt") for folder in (tiny_bundle, wider(tiny_bundle, tmp_path))]
    config = tmp_path / "wider" / "configs" / "train.yaml"
    before = config.read_text()
    config.write_text(before.replace("4.5", "4.0"))
    with pytest.raises(BundleError, match=r"wider.*another preprocessing than .*tiny.*so they make no ensemble"):
        trained_networks(weights, metadata)
    config.write_text(before)
    named = config.with_name("metadata.json")
    named.write_text(named.read_text().replace('"liver"', '"lung"'))
    with pytest.raises(BundleError, match="other classes than"):
        trained_networks(weights, metadata)


def test_weights_without_a_config_have_no_network_of_their_own(tiny_bundle: Path, tmp_path: Path) -> None:
    metadata = json.loads((tiny_bundle / "configs" / "metadata.json").read_text())
    assert trained_networks([str(tmp_path / "models" / "a.pt")], metadata) == [None]


def wider(bundle: Path, folder: Path) -> Path:
    """The same bundle with more channels, and weights that were not trained."""
    other = folder / "wider"
    shutil.copytree(bundle, other)
    config = other / "configs" / "train.yaml"
    parts = yaml.safe_load(config.read_text())
    parts["network_def"]["channels"] = [2 * each for each in parts["network_def"]["channels"]]
    config.write_text(yaml.safe_dump(parts))
    torch.manual_seed(3)
    save_weights(trained(str(other)).network_def, other / "models" / "model.pt")
    return other
