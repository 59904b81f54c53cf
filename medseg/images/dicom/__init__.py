"""DICOM: series as volumes, and the objects that carry labels (SEG, RTSTRUCT)."""

from medseg.images.dicom.files import dicom_files, is_dicom
from medseg.images.dicom.listing import SeriesInfo, list_series
from medseg.images.dicom.read import read_dicom, read_dicom_geometry

__all__ = ["SeriesInfo", "dicom_files", "is_dicom", "list_series", "read_dicom", "read_dicom_geometry"]
