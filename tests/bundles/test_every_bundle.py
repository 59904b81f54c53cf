"""What holds for every bundle of this project."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from monai.bundle import ConfigWorkflow

from medseg import __version__
from medseg.bundle import class_names, load_config

REPOSITORY = Path(__file__).parents[2]
SCHEMA = REPOSITORY / "medseg" / "bundle" / "metadata_schema.json"
BUNDLES = sorted(path.parent.parent for path in REPOSITORY.glob("bundles/*/configs/metadata.json"))
USER_IDS = {
    "train.yaml": {"dataset_dir", "output_dir", "max_epochs", "fold", "seed", "device"},
    "evaluate.yaml": {"dataset_dir", "output_dir", "fold", "device", "checkpoint"},
    "inference.yaml": {"input", "output_dir", "device", "checkpoint"},
}

every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def monai_bundle(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@every_bundle
def test_metadata_follows_the_schema_and_names_this_version(bundle: Path) -> None:
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, json.loads(SCHEMA.read_text()))
    assert metadata["name"] == bundle.name
    assert metadata["required_packages_version"]["medseg"] == __version__
    outputs = metadata["network_data_format"]["outputs"]["pred"]
    assert outputs["num_channels"] == len(outputs["channel_def"]) == len(class_names(metadata)) + 1


@every_bundle
def test_monai_verifies_metadata_and_network_without_a_network_connection(bundle: Path) -> None:
    metadata = bundle / "configs" / "metadata.json"
    told = monai_bundle("verify_metadata", "--meta_file", metadata, "--filepath", SCHEMA)
    assert "metadata is verified with no error" in told
    told = monai_bundle(
        *("verify_net_in_out", "--net_id", "network_def", "--meta_file", metadata),
        *("--config_file", bundle / "configs" / "inference.yaml"),
    )
    assert "data shape of network is verified with no error" in told


@every_bundle
@pytest.mark.parametrize("config", USER_IDS)
def test_user_facing_ids_are_the_same_in_every_bundle(bundle: Path, config: str) -> None:
    assert USER_IDS[config] <= set(load_config(bundle / "configs" / config))


@pytest.fixture
def dataset_of(phantom: Path, request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """A bundle's own kind of data: made up where it was trained on that, real elsewhere."""

    def find(bundle: Path) -> Path:
        if bundle.name.startswith("phantom"):
            return phantom
        data: Path = request.getfixturevalue("data_dir")
        return data / bundle.name.partition("_")[0]

    return find


@every_bundle
@pytest.mark.filterwarnings("ignore")
def test_hosts_find_monais_properties_where_they_look(
    bundle: Path, dataset_of: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Built, not only present: as MONAI Label, MONAI Deploy or NVFlare take a bundle apart."""
    dataset = dataset_of(bundle)
    given: dict[str, Any] = {"output_dir": str(tmp_path), "device": "cpu"}
    train = ConfigWorkflow(
        str(bundle / "configs" / "train.yaml"),
        workflow_type="train",
        dataset_dir=str(dataset),
        max_cases=6,
        **given,
    )
    train.initialize()
    assert train.check_properties() == []
    assert train.bundle_root == str(bundle)
    inference = ConfigWorkflow(
        str(bundle / "configs" / "inference.yaml"),
        workflow_type="infer",
        input=str(dataset / "images"),
        checkpoint=None,
        **given,
    )
    inference.initialize()
    assert inference.check_properties() == []


@every_bundle
def test_card_tells_what_goes_in_and_comes_out(bundle: Path) -> None:
    card = (bundle / "docs" / "README.md").read_text()
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert card.startswith(f"# {bundle.name}\n")
    for name in class_names(metadata).values():
        assert name in card
