"""Evaluation and prediction use the model as it was trained, not as the bundle would train it now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from medseg.bundle.run import find_bundle
from medseg.bundle.trained import trained
from medseg.errors import BundleError, MedsegError

OWN = {
    "width": 4,
    "network_def": {"_target_": "torch.nn.Linear", "in_features": "@width", "out_features": 2},
    "preprocessing": {"_target_": "Compose", "transforms": []},
    "inferer": {"_target_": "SimpleInferer"},
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "train.yaml").write_text(yaml.safe_dump(OWN))
    (folder / "configs" / "metadata.json").write_text('{"name": "mine"}')
    return folder


def run_of(folder: Path, config: Any = None) -> str:
    """The checkpoint of a run, which leaves its config beside `models/`."""
    folder.mkdir()
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return str(folder / "models" / "model.pt")


def test_config_of_the_run_beside_the_checkpoint_wins(bundle: Path, tmp_path: Path) -> None:
    checkpoint = run_of(tmp_path / "run", OWN | {"width": 9, "bundle_root": "/elsewhere"})
    parser = trained(str(bundle), checkpoint)
    assert parser.get_parsed_content("network_def").in_features == 9
    assert parser["bundle_root"] == str(bundle), "the run may have been on another machine"
    assert parser["_meta_"]["name"] == "mine"


def test_config_of_the_run_is_found_from_within_it(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Path(run_of(tmp_path / "run", OWN | {"width": 9}))
    weights.parent.mkdir()
    monkeypatch.chdir(weights.parent)
    assert trained(str(bundle), "model.pt").get_parsed_content("network_def").in_features == 9


@pytest.mark.parametrize("given", ["none", "of the bundle", "of a run without a config"])
def test_without_a_run_the_bundles_own_config_counts(bundle: Path, tmp_path: Path, given: str) -> None:
    checkpoint = {
        "none": None,
        "of the bundle": str(bundle / "models" / "model.pt"),
        "of a run without a config": run_of(tmp_path / "run"),
    }[given]
    parser = trained(str(bundle), checkpoint)
    assert parser.get_parsed_content("network_def").in_features == 4
    assert parser["bundle_root"] == str(bundle)


def test_weights_of_another_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    checkpoint = run_of(tmp_path / "run", OWN | {"bundle": "vessels"})
    with pytest.raises(
        BundleError, match=r"run/config\.yaml: the weights beside it are of the bundle 'vessels', not of"
    ):
        trained(str(bundle), checkpoint)
    assert trained(str(bundle), run_of(tmp_path / "mine", OWN | {"bundle": "mine"}))["width"] == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "cannot be read as a config"), ("- 1", "cannot be read as a config"), ("a: 1", "no id 'network_def'")],
)
def test_config_beside_the_weights_that_is_none_is_named(bundle: Path, tmp_path: Path, text: str, message: str) -> None:
    checkpoint = run_of(tmp_path / "run", {})
    (tmp_path / "run" / "config.yaml").write_text(text)
    with pytest.raises(MedsegError, match=rf"run/config\.yaml: {message}"):
        trained(str(bundle), checkpoint)


def test_nothing_of_the_training_is_built(bundle: Path) -> None:
    config = OWN | {"dataset": {"_target_": "no.such.Dataset"}}
    (bundle / "configs" / "train.yaml").write_text(yaml.safe_dump(config))
    assert trained(str(bundle)).get_parsed_content("network_def").out_features == 2


def test_bundle_without_a_training_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"configs/train\.yaml: not found; .* is --bundle_root right\?$"):
        trained(str(tmp_path))


def test_real_run_keeps_the_overrides_that_it_was_given(tiny_bundle: Path) -> None:
    """The tiny network of the run, of which the shipped bundle knows nothing."""
    checkpoint = str(tiny_bundle.parent / "run" / "models" / "model.pt")
    assert Path(checkpoint).is_file()
    shipped = find_bundle("phantom_ct_3d")
    assert trained(str(shipped), checkpoint)["network_def"]["channels"] == [4, 8, 8, 8]
    assert trained(str(shipped))["network_def"]["channels"] != [4, 8, 8, 8]
