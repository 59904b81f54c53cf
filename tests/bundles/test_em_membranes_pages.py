"""The membranes' bundle takes the files of ISBI 2012 as they are: pages in one TIFF, their labels in another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from medseg.bundle.run import find_bundle, find_layer, run_bundle
from medseg.images import read_label

COUNT = 10


@pytest.fixture(scope="module")
def isbi(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corners of real slices."""
    folder = tmp_path_factory.mktemp("isbi")
    for kind, name in (("images", "train-volume"), ("labels", "train-labels"), ("images", "test-volume")):
        slices = sorted((data_dir / "em_membrane" / kind).iterdir())[:COUNT]
        pages = np.stack([np.asarray(Image.open(path))[:128, :160] for path in slices])
        tifffile.imwrite(folder / f"{name}.tif", pages, photometric="minisblack")
    return folder


@pytest.mark.filterwarnings("ignore")
def test_pages_are_trained_on_measured_and_segmented_one_by_one(isbi: Path, tracking_uri: str, tmp_path: Path) -> None:
    bundle = find_bundle("em_membranes_2d")
    given: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
    labelled = given | {"dataset_dir": str(isbi), "tracking_uri": tracking_uri}
    short = {"max_epochs": 1, "train::trainer::epoch_length": 1, "network_def::features": 4, "patch_size": [236, 236]}
    workflow = run_bundle(
        bundle,
        "train.yaml",
        layers=[find_layer("smoke")],
        overrides={**labelled, **short, "output_dir": str(tmp_path / "run")},
    )
    checkpoint = workflow.parser.get_parsed_content("train::trainer").result()["checkpoint"]
    tags = workflow.parser.get_parsed_content("cases").tags
    assert (tags["training_cases"], tags["validation_cases"]) == ("8", "2")

    for run_id in ("run", "tune"):
        measured = run_bundle(
            bundle,
            "evaluate.yaml",
            overrides={**labelled, "output_dir": str(tmp_path / "measured"), "checkpoint": checkpoint},
            run_id=run_id,
        )
        summary = measured.parser.get_parsed_content("evaluator").evaluation.summary()
        assert run_id == "tune" or (summary["cases"] == 2 and not summary["failed"])
    assert (tmp_path / "run" / "models" / "decision.json").is_file()

    output = tmp_path / "predictions"
    overrides = {**given, "input": str(isbi / "test-volume.tif"), "output_dir": str(output), "checkpoint": checkpoint}
    run_bundle(bundle, "inference.yaml", overrides=overrides)
    found = [read_label(output / f"test-volume_{page:02d}.png").array.shape for page in range(1, COUNT + 1)]
    assert found == [(160, 128, 1)] * COUNT
