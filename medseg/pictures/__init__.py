"""Arrays in, pictures out."""

from medseg.pictures.overlay import contact_sheet, save
from medseg.pictures.views import Panel

__all__ = ["Panel", "contact_sheet", "save"]
