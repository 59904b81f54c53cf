"""A packed bundle is complete, the same every time, and never half-written."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from medseg.bundle.pack import pack
from medseg.bundle.run import find_bundle
from medseg.errors import BundleError, OutputError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of a bundle of this project, with a stand-in for weights: packing does not look into them."""
    copied = tmp_path / "copy"
    shutil.copytree(find_bundle("phantom_ct_3d"), copied)
    (copied / "models").mkdir(exist_ok=True)
    (copied / "models" / "model.pt").write_bytes(b"own weights")
    return copied


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


def test_checkpoint_takes_the_place_of_the_bundles_weights(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(b"my weights")
    pack(bundle, tmp_path / "out.zip", checkpoint=tmp_path / "mine.pt")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.read("phantom_ct_3d/models/model.pt") == b"my weights"


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
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"my weights")
    weights.with_name("decision.json").write_text("{}")
    (tmp_path / "run" / "config.yaml").write_text("dataset_dir: /home/me/secret\npatch_size: [32, 32, 16]\n")
    pack(bundle, tmp_path / "out.zip", checkpoint=weights)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.read("phantom_ct_3d/models/decision.json") == b"{}"
        config = archive.read("phantom_ct_3d/config.yaml").decode()
    assert "patch_size" in config and "secret" not in config
