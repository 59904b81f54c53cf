"""Several weights of one network give the mean of their probabilities."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

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
