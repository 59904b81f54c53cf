"""Losses that MONAI does not have: logits and label in, one number out."""

from medseg.losses.regions import RegionDiceCELoss
from medseg.losses.weighted import CentreCropped, WeightedCrossEntropy

__all__ = ["CentreCropped", "RegionDiceCELoss", "WeightedCrossEntropy"]
