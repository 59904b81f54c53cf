"""The scores of a set of cases, collected, summarised and written."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ConfigError, DatasetError
from medseg.files import write_text
from medseg.inference.batch.rows import as_text
from medseg.metrics import ClassScore, ClassSummary, score_case, summarise


class Evaluation:
    """Scores per case and class, and their summary.

    Args:
        class_names: value -> name of the classes to score.
        tolerance_mm: of the surface Dice.
        regions: name -> the class values that make up a region, scored as one more class.

    Raises:
        ConfigError: for a tolerance that is none.
    """

    def __init__(
        self, class_names: Mapping[int, str], tolerance_mm: float, regions: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self._class_names = dict(class_names)
        self._regions = dict(regions or {})
        if not isinstance(tolerance_mm, int | float) or not 0 <= tolerance_mm < math.inf:
            raise ConfigError(f"surface_tolerance_mm {tolerance_mm!r}: give a number of mm, 0 or more")
        self._tolerance_mm = float(tolerance_mm)
        self._scores: dict[str, list[ClassScore]] = {}
        self._failed: dict[str, str] = {}
        self._units: set[str] = set()
        self._measures: dict[str, dict[str, Any]] = {}

    def add(
        self,
        case: str,
        label: NDArray[np.integer[Any]],
        segmentation: NDArray[np.integer[Any]],
        *,
        spacing: Sequence[float],
        voxel_ml: float | None = None,
        axes: NDArray[np.float64] | None = None,
        has_scale: bool = True,
    ) -> list[ClassScore]:
        """Score one case: true and predicted class values on one grid.

        `spacing`, `voxel_ml` and `axes` are as of `score_case`.

        Args:
            has_scale: False for a picture of which no file told the pixels' size; its lengths are in pixels, and it has
                no volumes.

        Raises:
            DatasetError: if the two differ in shape.
        """
        if label.shape != segmentation.shape:
            raise DatasetError(f"{case}: label {label.shape} and segmentation {segmentation.shape} differ in shape")
        size: dict[str, Any] = {
            "spacing": spacing,
            "voxel_ml": voxel_ml,
            "axes": axes,
            "tolerance_mm": self._tolerance_mm,
        }
        scores = score_case(label, segmentation, class_names=self._class_names, **size)
        for name, values in self._regions.items():
            scores += score_case(np.isin(label, values), np.isin(segmentation, values), class_names={1: name}, **size)
        if not has_scale:
            scores = [replace(each, label_ml=None, segmentation_ml=None) for each in scores]
        self._scores[case] = scores
        self._units.add("mm" if has_scale else "pixels")
        return scores

    def add_failure(self, case: str, message: str) -> None:
        """Take down that a case could not be segmented; it is listed, and is in no mean."""
        self._failed[case] = message

    def add_measure(self, name: str, found: dict[str, Any]) -> None:
        """Take down what was measured over all cases together."""
        self._measures[name] = found

    def classes(self) -> list[ClassSummary]:
        """The summary of every class."""
        return summarise(score for scores in self._scores.values() for score in scores)

    def summary(self) -> dict[str, Any]:
        """What `summary.json` holds.

        `mean_dice`: the mean of the classes' (not the regions') mean Dice, without classes that no case has;
        `cases` scored;
        `failed`: case -> reason; `surface_dice_tolerance_mm`; `length_unit`: what `..._mm` is in, `pixels` where no
        picture's file told how large they are; `classes`: name -> `dice`, `iou`, `hd95_mm`,
        `surface_dice` (each `mean` and 95 % `interval`), `scored`, `misses`, `false_alarms`, `absent`.
        """
        classes = self.classes()
        means = [each.estimates["dice"].mean for each in classes if each.class_name not in self._regions]
        present = [mean for mean in means if mean is not None]
        return {
            "mean_dice": float(np.mean(present)) if present else None,
            "cases": len(self._scores),
            "failed": dict(self._failed),
            "surface_dice_tolerance_mm": self._tolerance_mm,
            "length_unit": " or ".join(sorted(self._units)) or "mm",
            "classes": {each.class_name: _class_summary(each) for each in classes},
            **({"measures": self._measures} if self._measures else {}),
        }

    def write(self, output_dir: Path) -> None:
        """Write `summary.json` and `cases.csv`, a row per case and class.

        Raises:
            OutputError: if the folder cannot be written.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["case", *(field.name for field in fields(ClassScore))])
        for case, scores in self._scores.items():
            writer.writerows([as_text(case), *asdict(score).values()] for score in scores)
        write_text(output_dir / "cases.csv", text.getvalue())
        write_text(output_dir / "summary.json", json.dumps(self.summary(), indent=2) + "\n")


def _class_summary(each: ClassSummary) -> dict[str, Any]:
    return {
        **{metric: {"mean": e.mean, "interval": e.interval} for metric, e in each.estimates.items()},
        "scored": each.scored,
        "misses": each.misses,
        "false_alarms": each.false_alarms,
        "absent": each.absent,
    }
