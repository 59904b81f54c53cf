"""Arrays in, pictures out."""

from medseg.pictures.curves import OperatingPoint, RankingCurve, roc_pr_figure
from medseg.pictures.difference import difference_picture, save_picture
from medseg.pictures.learning import learning_curves
from medseg.pictures.overlay import contact_sheet, save
from medseg.pictures.views import Panel

__all__ = [
    "OperatingPoint",
    "Panel",
    "RankingCurve",
    "contact_sheet",
    "difference_picture",
    "learning_curves",
    "roc_pr_figure",
    "save",
    "save_picture",
]
