"""What an evaluation logs is found under the names that the documentation gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.bundle import class_names
from medseg.bundle.adapt import adapt
from medseg.bundle.metadata import label_regions
from medseg.evaluation import Evaluation
from medseg.evaluation.measures import Compared
from medseg.evaluation.recording import numbers
from medseg.types import LabelClass

REPOSITORY = Path(__file__).parents[2]
BUNDLES = {
    "retina": "retina_vessels_2d",
    "cells": "microscopy_cells_2d",
    "cells_folds": "microscopy_cells_2d",
    "membranes": "em_membranes_2d",
    "glioma": "brain_lgg_2d",
    "ultrasound": "ultrasound_nerve_2d",
    "blood_cells": "colour_masks_2d",
    "artery_vein": ("artery", "vein", "crossing"),  # of classes of its own
    "chest": ("lung",),
    "spleen": "spleen_ct_3d",
    "liver": "liver_lesion_ct_3d",
    "spleen_phantom": "spleen_ct_3d",
    "liver_phantom": "liver_lesion_ct_3d",
}


def documented() -> dict[str, set[str]]:
    """Row -> names of metrics in the last table of docs/results.md; those of `pictures` stand for all of these."""
    table = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8").partition("## In MLflow")[2]
    rows: dict[str, set[str]] = {}
    for row, names in re.findall(r"^\| `?(\w+)`? \|[^|]+\| (.*) \|$", table, flags=re.MULTILINE):
        rows.setdefault(row, set()).update(re.findall(r"`([^`]+)`", names))
    of_pictures = rows.pop("pictures")
    pictures = {row for row, bundle in BUNDLES.items() if not str(bundle).endswith("_3d")}
    return {row: rows.get(row, set()) | (of_pictures if row in pictures else set()) for row in BUNDLES}


def bundle_of(row: str, folder: Path) -> Path:
    given = BUNDLES[row]
    if isinstance(given, str):
        return REPOSITORY / "bundles" / given
    adapt(REPOSITORY / "bundles" / "colour_masks_2d", folder / row, [LabelClass(n, c) for n, c in enumerate(given, 1)])
    return folder / row


def logged(bundle: Path) -> dict[str, float]:
    """What the measures of a bundle's evaluate.yaml make of two noisy pictures of all its classes."""
    from monai.bundle import ConfigParser

    metadata: dict[str, Any] = json.loads((bundle / "configs" / "metadata.json").read_text())
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "evaluate.yaml"))
    parser["bundle_root"], parser["checkpoint"] = str(bundle), None
    measures = parser.get_parsed_content("measures") if "measures" in parser else {}
    names, regions = class_names(metadata), label_regions(metadata)
    evaluation = Evaluation(names, 1.0, regions)
    rng = np.random.default_rng(0)
    for case in ("TCGA_CS_1_1", "TCGA_CS_2_1"):
        label, found = (rng.integers(0, len(names) + 1, (16, 12, 1)) for _ in range(2))
        structures = {name: (value,) for value, name in names.items()} | regions
        sure = np.eye(len(names) + 1, dtype=np.float32)[found]
        for measure in measures.values():
            measure.update(Compared(case, structures, label, found, sure, observer=label))
        evaluation.add(case, label, found, spacing=(1, 1, 1))
    for name, measure in measures.items():
        evaluation.add_measure(name, measure.compute())
    return dict(numbers(evaluation.summary()))


@pytest.mark.parametrize("row", BUNDLES)
def test_every_figure_of_the_results_is_a_metric_of_its_evaluation(row: str, tmp_path: Path) -> None:
    missing = documented()[row] - set(logged(bundle_of(row, tmp_path)))
    assert not missing


def test_every_row_of_the_results_has_its_metrics_documented() -> None:
    results = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", results.partition("## In MLflow")[0], flags=re.MULTILINE))
    assert rows == set(BUNDLES)
    assert all(documented().values())


def test_numbers_are_named_by_their_keys_and_intervals_by_their_bounds() -> None:
    summary = {
        "mean_dice": 0.5,
        "failed": {"Smith": "3 of 4"},
        "classes": {"liver": {"dice": {"mean": 0.25, "interval": (0.0, 1.0)}, "misses": 2}},
        "measures": {
            "pixels": {"loss": {"value": 2.5, "interval": [1, 4]}, "iou": {"value": None, "interval": None}},
            "membranes": {"v_rand": 0.75, "settings": {"v_rand": 0.5}},
            "patients": {"dice": {"value": 1.0, "interval": None}, "patients": [0.1, 0.2]},
        },
    }
    assert dict(numbers(summary)) == {
        "mean_dice": 0.5,
        "classes/liver/dice": 0.25,
        "classes/liver/dice_ci95_low": 0.0,
        "classes/liver/dice_ci95_high": 1.0,
        "classes/liver/misses": 2,
        "measures/pixels/loss": 2.5,
        "measures/pixels/loss_ci95_low": 1,
        "measures/pixels/loss_ci95_high": 4,
        "measures/membranes/v_rand": 0.75,
        "measures/patients/dice": 1.0,
    }
