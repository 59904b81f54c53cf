"""Every outcome has the scores that are stated for it, and a miss never pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from medseg.metrics import dice, iou, score_case

NAMES = {1: "liver", 2: "spleen"}


def scored(label: NDArray[np.int64], segmentation: NDArray[np.int64], spacing: tuple[float, ...] = (1, 1, 1)) -> dict:  # type: ignore[type-arg]
    scores = score_case(label, segmentation, spacing=spacing, class_names=NAMES, tolerance_mm=1.0)
    return {score.class_name: score for score in scores}


def box(value: int, start: int = 1) -> NDArray[np.int64]:
    volume = np.zeros((8, 8, 8), dtype=np.int64)
    volume[start : start + 4, 1:5, 1:5] = value
    return volume


def test_overlap_of_half_shifted_boxes() -> None:
    a, b = box(1) == 1, box(1, start=3) == 1
    assert dice(a, b) == pytest.approx(0.5)
    assert iou(a, b) == pytest.approx(1 / 3)


def test_perfect_segmentation() -> None:
    liver = scored(box(1), box(1), spacing=(1, 2, 5))["liver"]
    assert (liver.outcome, liver.dice, liver.iou, liver.hd95_mm, liver.surface_dice) == ("scored", 1, 1, 0, 1)
    assert liver.label_ml == liver.segmentation_ml == pytest.approx(64 * 10 / 1000)


@pytest.mark.parametrize(("label", "segmentation", "outcome"), [(1, 0, "missed"), (0, 1, "false_alarm")])
def test_missed_and_invented_structures_cost_the_worst_case(label: int, segmentation: int, outcome: str) -> None:
    liver = scored(box(label), box(segmentation), spacing=(1, 2, 2))["liver"]
    assert liver.outcome == outcome
    assert (liver.dice, liver.iou, liver.surface_dice) == (0, 0, 0)
    assert liver.hd95_mm == pytest.approx(np.linalg.norm([8, 16, 16]))


def test_class_in_neither_has_no_scores() -> None:
    spleen = scored(box(1), box(1))["spleen"]
    assert (spleen.outcome, spleen.dice, spleen.iou, spleen.hd95_mm, spleen.surface_dice) == (
        "absent",
        *[None] * 4,
    )


@settings(max_examples=30, deadline=None)
@given(maps=npst.arrays(np.int64, (2, 4, 4, 3), elements=st.integers(0, 2)))
def test_leaving_a_structure_out_never_improves_a_score(maps: NDArray[np.int64]) -> None:
    label, segmentation = maps
    without = np.where(segmentation == 1, 0, segmentation)
    kept, left_out = scored(label, segmentation)["liver"], scored(label, without)["liver"]
    if (label == 1).any():
        assert left_out.dice <= kept.dice
        assert left_out.iou <= kept.iou
        assert left_out.surface_dice <= kept.surface_dice
        assert left_out.hd95_mm >= kept.hd95_mm


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        scored(box(1), box(1)[:4])


@pytest.mark.filterwarnings("ignore")
def test_monai_still_lets_a_miss_drop_out_of_the_mean() -> None:
    """The fact that `score_case` works around (MONAI issue 9095): when this fails, look whether it still must."""
    from monai.metrics import compute_hausdorff_distance

    true, empty = torch.from_numpy(box(1) == 1)[None, None].float(), torch.zeros(1, 1, 8, 8, 8)
    distance = compute_hausdorff_distance(empty, true, include_background=True, percentile=95)
    assert not torch.isfinite(distance).any()


def test_volumes_are_those_of_the_voxels_where_axes_are_oblique() -> None:
    (liver,) = score_case(box(1), box(1), spacing=(1, 1, 1), class_names={1: "liver"}, tolerance_mm=1, voxel_ml=0.5)
    assert liver.label_ml == liver.segmentation_ml == pytest.approx(0.5 * 64)


@pytest.mark.parametrize(("tolerance", "expected"), [(1.0, 0.0), (3.0, 1.0)])
def test_surface_dice_is_at_the_tolerance_that_is_given(tolerance: float, expected: float) -> None:
    """Two plates, three voxels apart."""
    label, mine = np.zeros((2, 8, 8, 8), np.int64)
    label[1], mine[4] = 1, 1
    (plate,) = score_case(label, mine, spacing=(1, 1, 1), class_names={1: "plate"}, tolerance_mm=tolerance)
    assert plate.surface_dice == expected
