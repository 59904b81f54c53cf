"""Arrays in, numbers out."""

from medseg.metrics.overlap import dice, iou
from medseg.metrics.score import ClassScore, Outcome, score_case
from medseg.metrics.summary import ClassSummary, Estimate, summarise
from medseg.metrics.surface import SurfaceDistances, surface_distances

__all__ = [
    "ClassScore",
    "ClassSummary",
    "Estimate",
    "Outcome",
    "SurfaceDistances",
    "dice",
    "iou",
    "score_case",
    "summarise",
    "surface_distances",
]
