"""Arrays in, numbers out."""

from medseg.metrics.bootstrap import bootstrap, interval, resampled_sums
from medseg.metrics.confusion import Confusion
from medseg.metrics.groups import dice_per_group, stack_groups
from medseg.metrics.overlap import dice, iou
from medseg.metrics.partition import (
    PartitionScore,
    information_score,
    rand_score,
    scores_over_thresholds,
    segments,
    thinned,
)
from medseg.metrics.ranking import ScoreHistogram
from medseg.metrics.score import ClassScore, Outcome, score_case
from medseg.metrics.summary import ClassSummary, Estimate, summarise
from medseg.metrics.surface import SurfaceDistances, surface_distances
from medseg.metrics.warping import pixel_error, warped, warping_error

__all__ = [
    "ClassScore",
    "ClassSummary",
    "Confusion",
    "Estimate",
    "Outcome",
    "PartitionScore",
    "ScoreHistogram",
    "SurfaceDistances",
    "bootstrap",
    "dice",
    "dice_per_group",
    "information_score",
    "interval",
    "iou",
    "pixel_error",
    "rand_score",
    "resampled_sums",
    "score_case",
    "scores_over_thresholds",
    "segments",
    "stack_groups",
    "summarise",
    "surface_distances",
    "thinned",
    "warped",
    "warping_error",
]
