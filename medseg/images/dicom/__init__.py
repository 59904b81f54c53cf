"""DICOM: series as volumes, and the objects that carry labels (SEG, RTSTRUCT)."""

from medseg.images.dicom.series import Series, dicom_files, is_dicom, read_series, read_voxels

__all__ = ["Series", "dicom_files", "is_dicom", "read_series", "read_voxels"]
