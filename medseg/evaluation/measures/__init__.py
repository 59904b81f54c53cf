"""Measures of all cases together, as ignite metrics; a bundle names those that its field reports."""

from medseg.evaluation.measures.images import ImageDice
from medseg.evaluation.measures.measure import Compared, Measure
from medseg.evaluation.measures.membranes import MembraneMeasures
from medseg.evaluation.measures.patients import PatientDice
from medseg.evaluation.measures.pixels import PixelMeasures

__all__ = ["Compared", "ImageDice", "Measure", "MembraneMeasures", "PatientDice", "PixelMeasures"]
