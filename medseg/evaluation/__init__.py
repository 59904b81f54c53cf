"""Predictions to numbers."""

from medseg.bundle.parts import takes_parts
from medseg.evaluation.evaluation import Evaluation
from medseg.evaluation.evaluator import Evaluator
from medseg.evaluation.measures import ImageDice, Measure, MembraneMeasures, PatientDice, PixelMeasures
from medseg.evaluation.tuner import Tuner
from medseg.inference import MODEL_PARTS

_PARTS = MODEL_PARTS | {
    "tolerance_mm": "surface_tolerance_mm",
    "save_segmentations": "save_segmentations",
    "measures": "measures",
    "label_reader": "label_reader",
    "tracking": "tracked",
    "tracking_uri": "tracking_uri",
}

bundle_evaluator = takes_parts(**_PARTS)(Evaluator)
bundle_tuner = takes_parts(**_PARTS)(Tuner)

__all__ = [
    "Evaluation",
    "Evaluator",
    "ImageDice",
    "Measure",
    "MembraneMeasures",
    "PatientDice",
    "PixelMeasures",
    "Tuner",
    "bundle_evaluator",
    "bundle_tuner",
]
