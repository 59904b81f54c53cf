"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

REPOSITORY = Path(__file__).parents[1]

hypothesis.settings.register_profile("untimed", deadline=None)  # no test measures time
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets: `MEDSEG_DATA`, by default `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("MEDSEG_DATA", REPOSITORY / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set MEDSEG_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up CT dataset: six labelled cases, and one as a DICOM series."""
    from medseg.data.phantom import make_phantom

    folder = tmp_path_factory.mktemp("phantom")
    make_phantom(folder, cases=6)
    return folder


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow store for all tests: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


TINY = {
    "patch_size": [32, 32, 16],
    "network_def::channels": [4, 8, 8, 8],
    "train::trainer::epoch_length": 2,
    "max_epochs": 2,
    "val_interval": 1,
}


@pytest.fixture(scope="session")
def train_phantom(phantom: Path, tracking_uri: str) -> Callable[..., Any]:
    """Train the phantom bundle, small and short, with overrides; gives the trainer."""
    from medseg.bundle.run import find_bundle, run_bundle

    def train(output_dir: Path, **overrides: Any) -> Any:
        given = {"dataset_dir": str(phantom), "output_dir": str(output_dir), "tracking_uri": tracking_uri}
        workflow = run_bundle(find_bundle("phantom_ct_3d"), "train.yaml", overrides=TINY | given | overrides)
        return workflow.parser.get_parsed_content("train::trainer")

    return train


@pytest.fixture(scope="session")
def tiny_bundle(train_phantom: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom bundle as a folder of its own, with a tiny network that was trained for a moment."""
    import shutil

    import yaml

    from medseg.bundle.run import find_bundle

    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    shutil.copytree(find_bundle("phantom_ct_3d"), folder)
    trainer = train_phantom(folder.parent / "run")
    (folder / "models").mkdir(exist_ok=True)
    shutil.copy(trainer.result()["checkpoint"], folder / "models" / "model.pt")
    config = yaml.safe_load((folder / "configs" / "train.yaml").read_text())
    config["patch_size"] = TINY["patch_size"]
    config["network_def"]["channels"] = TINY["network_def::channels"]
    (folder / "configs" / "train.yaml").write_text(yaml.safe_dump(config))
    return folder
