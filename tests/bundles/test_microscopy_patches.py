"""The microscopy bundle cuts images into a grid that a user sets by steps or by columns and rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from medseg.bundle.run import find_bundle, run_bundle

SMALL = {"patch_size": [32, 32], "network_def::filters": [2, 2, 2, 2], "max_epochs": 1, "device": "cpu"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(7):
        image, label = rng.integers(0, 255, (48, 80, 3), np.uint8), rng.choice(np.uint8([0, 128, 255]), (6, 10))
        Pillow.fromarray(image).save(tmp_path / f"data/images/{number}.png")
        Pillow.fromarray(np.kron(label, np.ones((8, 8), np.uint8))).save(tmp_path / f"data/labels/{number}.png")
    return tmp_path / "data"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("grid", "patches"), [({"patch_step": [24, 16]}, 6), ({"patch_step": None, "patch_counts": [5, 3]}, 15)]
)
def test_grid_is_told_by_steps_or_by_counts(
    dataset: Path, tracking_uri: str, tmp_path: Path, grid: dict[str, Any], patches: int
) -> None:
    folders = {"dataset_dir": str(dataset), "output_dir": str(tmp_path / "run"), "tracking_uri": tracking_uri}
    parser = run_bundle(find_bundle("microscopy_cells_2d"), "train.yaml", overrides=SMALL | folders | grid).parser

    assert len(parser.get_parsed_content("train::dataset")[0]) == patches
    assert (tmp_path / "run" / "models" / "model.pt").is_file()
