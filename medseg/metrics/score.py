"""One case, class by class: what was found, what was missed, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.metrics.overlap import dice, iou
from medseg.metrics.surface import surface_distances

Outcome = Literal["scored", "missed", "false_alarm", "absent"]

METRICS = ("dice", "iou", "hd95_mm", "surface_dice")


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class in one case.

    Attributes:
        class_name: of the class.
        outcome: `scored` where label and segmentation both have the class; `missed` where only the label
            has it and `false_alarm` where only the segmentation has it, both of which cost the worst
            case; `absent` where neither has it, which has no scores.
        dice: 0 to 1; worst 0.
        iou: 0 to 1; worst 0.
        hd95_mm: mm; worst is the diagonal of the image.
        surface_dice: 0 to 1; worst 0.
        label_ml: true volume in mL (area in cm2 times 0.1 for a 2D image, as if 1 mm thick); None where the size of
            a pixel is not known.
        segmentation_ml: predicted volume, likewise.
    """

    class_name: str
    outcome: Outcome
    dice: float | None
    iou: float | None
    hd95_mm: float | None
    surface_dice: float | None
    label_ml: float | None
    segmentation_ml: float | None


def score_case(
    label: NDArray[Any],
    segmentation: NDArray[Any],
    *,
    spacing: Sequence[float],
    class_names: Mapping[int, str],
    tolerance_mm: float,
    voxel_ml: float | None = None,
    axes: NDArray[np.float64] | None = None,
) -> list[ClassScore]:
    """Compare a predicted label map with the true one on the same grid, for every class.

    MONAI's HD95 is NaN where a structure was missed and drops out of the mean, so that misses improve it
    (MONAI issue 9095); here a miss costs the worst case.

    Args:
        label: true class values, 2D or 3D.
        segmentation: predicted class values, of the same shape.
        spacing: mm between neighbours along each axis.
        class_names: value -> name of the classes to score.
        tolerance_mm: of the surface Dice.
        voxel_ml: mL of a voxel; None for the product of the spacing, which is more than it where axes are oblique to
            each other, as under a gantry's tilt.
        axes: of such a grid; see `surface_distances`.

    Raises:
        ValueError: if shapes or spacing do not fit.
    """
    if label.shape != segmentation.shape or len(spacing) != label.ndim:
        raise ValueError(f"label {label.shape}, segmentation {segmentation.shape} and spacing {spacing} do not fit")
    if voxel_ml is None:
        voxel_ml = float(np.prod(spacing)) / 1000
    diagonal_mm = float(np.linalg.norm(np.multiply(label.shape, spacing)))
    scores = []
    for value, name in class_names.items():
        true, mine = label == value, segmentation == value
        volumes = {"label_ml": float(true.sum()) * voxel_ml, "segmentation_ml": float(mine.sum()) * voxel_ml}
        if true.any() and mine.any():
            distances = surface_distances(true, mine, spacing=spacing, axes=axes)
            numbers = (
                dice(true, mine),
                iou(true, mine),
                distances.hd95_mm(),
                distances.surface_dice(tolerance_mm),
            )
            scores.append(ClassScore(name, "scored", *numbers, **volumes))
        elif true.any() or mine.any():
            outcome: Outcome = "missed" if true.any() else "false_alarm"
            scores.append(ClassScore(name, outcome, 0.0, 0.0, diagonal_mm, 0.0, **volumes))
        else:
            scores.append(ClassScore(name, "absent", None, None, None, None, **volumes))
    return scores
