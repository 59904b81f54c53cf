"""A packed bundle is complete, the same every time, and never half-written."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from medseg.bundle.check import load_config
from medseg.bundle.pack import pack
from medseg.bundle.run import find_bundle
from medseg.bundle.trained import trained
from medseg.bundle.weights import save_weights
from medseg.errors import BundleError, OutputError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of a bundle of this project with weights, untrained ones."""
    copied = tmp_path / "copy"
    shutil.copytree(find_bundle("phantom_ct_3d"), copied)
    weights_of(copied, copied / "models" / "model.pt")
    return copied


def weights_of(bundle: Path, path: Path) -> bytes:
    """Weights of the bundle's network, which nobody trained, written to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(trained(str(bundle)).network_def, path)
    return path.read_bytes()


def test_packed_bundle_holds_every_part_under_its_name(bundle: Path, tmp_path: Path) -> None:
    names = pack(bundle, tmp_path / "out.zip")
    assert set(names) >= {
        f"phantom_ct_3d/{part}"
        for part in (
            "LICENSE",
            "configs/metadata.json",
            "configs/train.yaml",
            "configs/evaluate.yaml",
            "configs/inference.yaml",
            "configs/logging.conf",
            "docs/README.md",
            "models/model.pt",
        )
    }
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
    with pytest.raises(BundleError, match=r"out\.zip: is a zip file; unpack it, and name the bundle's folder in it"):
        find_bundle(tmp_path / "out.zip")


def test_checkpoint_takes_the_place_of_the_bundles_weights(bundle: Path, tmp_path: Path) -> None:
    mine = weights_of(bundle, tmp_path / "mine.pt")
    pack(bundle, tmp_path / "out.zip", checkpoint=tmp_path / "mine.pt")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.read("phantom_ct_3d/models/model.pt") == mine


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"a letter"), "letter.pt: not a readable checkpoint"),
        (lambda path: weights_of(find_bundle("retina_vessels_2d"), path), "letter.pt: these weights do not fit"),
    ],
)
def test_what_is_no_weights_of_the_network_is_not_packed(
    bundle: Path, tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "letter.pt")
    with pytest.raises(BundleError, match=message):
        pack(bundle, tmp_path / "out.zip", checkpoint=tmp_path / "letter.pt")
    assert not (tmp_path / "out.zip").exists()


def test_same_bundle_gives_the_same_file(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, tmp_path / "one.zip")
    (bundle / "configs" / "train.yaml").touch()
    pack(bundle, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


@pytest.mark.parametrize("missing", ["LICENSE", "configs/inference.yaml", "docs/README.md", "models/model.pt"])
def test_missing_part_is_named_and_nothing_written(bundle: Path, tmp_path: Path, missing: str) -> None:
    (bundle / missing).unlink()
    with pytest.raises(BundleError, match=missing):
        pack(bundle, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_place_that_cannot_be_written_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/out\.zip"):
        pack(bundle, tmp_path / "file" / "out.zip")


def test_unknown_bundle_is_named_with_those_that_there_are() -> None:
    with pytest.raises(BundleError, match=r"no_such: no bundle there .* hippocampus_mri_3d, .*phantom_ct_3d"):
        find_bundle("no_such")


def test_weights_of_a_run_bring_its_config_and_decision_but_no_folders(bundle: Path, tmp_path: Path) -> None:
    weights = tmp_path / "run" / "models" / "model.pt"
    weights_of(bundle, weights)
    weights.with_name("decision.json").write_text("{}")
    of_run = load_config(bundle / "configs" / "train.yaml") | {
        "dataset_dir": "/home/me/secret",
        "folds": {"_target_": "medseg.data.Folds", "file": "../secret/splits_final.json"},
        "notes": ["/home/secret", "~/secret", "C:\\secret", "file:///secret"],
        "seed": 17,
    }
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(of_run))
    pack(bundle, tmp_path / "out.zip", checkpoint=weights)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.read("phantom_ct_3d/models/decision.json") == b"{}"
        config = archive.read("phantom_ct_3d/config.yaml").decode()
    assert "seed: 17" in config and "secret" not in config
    assert yaml.safe_load(config)["network_def"] == of_run["network_def"]


def test_what_was_found_for_the_bundles_own_weights_is_not_packed_with_others(bundle: Path, tmp_path: Path) -> None:
    for name in ("decision.json", "fingerprint.json"):
        (bundle / "models" / name).write_text("{}")
    weights_of(bundle, tmp_path / "mine.pt")
    assert {"decision.json", "fingerprint.json"} <= {Path(each).name for each in pack(bundle, tmp_path / "own.zip")}
    names = {Path(each).name for each in pack(bundle, tmp_path / "out.zip", checkpoint=tmp_path / "mine.pt")}
    assert "model.pt" in names and not names & {"decision.json", "fingerprint.json"}
