"""`summary.json` and `cases.csv` hold what they are documented to hold."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from medseg.cli.run import scores_table
from medseg.errors import ConfigError, DatasetError, OutputError
from medseg.evaluation import Evaluation

LABEL = np.zeros((6, 6, 6), dtype=np.uint8)
LABEL[1:4, 1:4, 1:4] = 1


@pytest.fixture
def evaluation() -> Evaluation:
    collected = Evaluation({1: "liver", 2: "spleen"}, tolerance_mm=1.0)
    collected.add("one", LABEL, LABEL, spacing=(1, 1, 2))
    collected.add("two", LABEL, np.zeros_like(LABEL), spacing=(1, 1, 2))
    collected.add_failure("three", "three.nii.gz: truncated")
    return collected


def test_summary_counts_the_miss_and_leaves_out_what_is_not_there(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["mean_dice"] == 0.5
    assert (summary["cases"], summary["failed"]) == (2, {"three": "three.nii.gz: truncated"})
    assert summary["surface_dice_tolerance_mm"] == 1.0
    liver, spleen = summary["classes"]["liver"], summary["classes"]["spleen"]
    assert (liver["scored"], liver["misses"], liver["false_alarms"], liver["absent"]) == (1, 1, 0, 0)
    assert liver["hd95_mm"]["mean"] == pytest.approx(np.linalg.norm([6, 6, 12]) / 2)
    assert liver["dice"]["interval"] == [0.0, 1.0]
    assert spleen["dice"] == {"mean": None, "interval": None} and spleen["absent"] == 2


def test_lengths_in_pictures_without_a_scale_are_in_pixels(evaluation: Evaluation) -> None:
    assert evaluation.summary()["length_unit"] == "mm"
    scores = evaluation.add("unscaled", LABEL, LABEL, spacing=(1, 1, 1), has_scale=False)
    assert {each.label_ml for each in scores} == {None} == {each.segmentation_ml for each in scores}
    assert evaluation.summary()["length_unit"] == "mm or pixels"


def test_one_case_has_a_mean_and_no_interval() -> None:
    alone = Evaluation({1: "liver"}, tolerance_mm=1.0)
    alone.add("one", LABEL, LABEL, spacing=(1, 1, 1), has_scale=False)
    assert alone.summary()["classes"]["liver"]["dice"] == {"mean": 1.0, "interval": None}
    assert "HD95 pixels" in shown(alone) and "1.000" in shown(alone) and "[" not in shown(alone)


def shown(evaluation: Evaluation) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(scores_table(evaluation))
    return console.export_text()


def test_csv_has_a_row_per_case_and_class(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path)
    with (tmp_path / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["class_name"], row["outcome"]) for row in rows] == [
        ("one", "liver", "scored"),
        ("one", "spleen", "absent"),
        ("two", "liver", "missed"),
        ("two", "spleen", "absent"),
    ]
    assert rows[1]["dice"] == ""


@pytest.mark.parametrize("tolerance", [-1, "abc", float("nan"), float("inf")])
def test_tolerance_that_is_none_is_refused(tolerance: Any) -> None:
    with pytest.raises(ConfigError, match=r"^surface_tolerance_mm .*: give a number of mm, 0 or more$"):
        Evaluation({1: "liver"}, tolerance)


def test_shapes_that_differ_name_the_case(evaluation: Evaluation) -> None:
    with pytest.raises(DatasetError, match="four: label"):
        evaluation.add("four", LABEL, LABEL[:3], spacing=(1, 1, 1))


def test_place_that_cannot_be_written_is_named(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/cases\.csv"):
        evaluation.write(tmp_path / "file")


def test_region_is_scored_beside_the_classes_and_is_not_in_their_mean() -> None:
    """Of two halves of a liver the found ones are the wrong way round: every class is wrong, the region right."""
    halves = np.where(LABEL == 1, 1 + (np.arange(6)[:, None, None] > 1), 0)
    swapped = np.where(halves, 3 - halves, 0)
    scored = Evaluation({1: "left", 2: "right"}, 1.0, {"liver": (1, 2)})
    scored.add("one", halves, swapped, spacing=(1, 1, 1))
    summary = scored.summary()
    assert {name: each["dice"]["mean"] for name, each in summary["classes"].items()} == {
        "left": 0, "right": 0, "liver": 1
    }  # fmt: skip
    assert summary["mean_dice"] == 0
