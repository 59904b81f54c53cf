"""Predictions to numbers."""

from medseg.bundle.parts import takes_parts
from medseg.evaluation.evaluation import Evaluation
from medseg.evaluation.evaluator import Evaluator
from medseg.inference import PREDICTOR_PARTS

bundle_evaluator = takes_parts(
    **PREDICTOR_PARTS, tolerance_mm="surface_tolerance_mm", save_segmentations="save_segmentations"
)(Evaluator)

__all__ = ["Evaluation", "Evaluator", "bundle_evaluator"]
