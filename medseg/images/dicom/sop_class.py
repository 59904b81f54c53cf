"""What kind of DICOM object a file is, asked without an error."""

from __future__ import annotations

from pathlib import Path

import pydicom

from medseg.images.dicom.quiet import quiet

OF_DICOM = "1.2.840.10008."  # how the classes begin that DICOM itself names
STORAGE = f"{OF_DICOM}5.1.4.1.1."
SEGMENTATION = (f"{STORAGE}66.4", f"{STORAGE}66.7")  # and Label Map Segmentation
STRUCTURE_SET = (f"{STORAGE}481.3",)


def sop_class_of(path: Path) -> str:
    """SOPClassUID of a DICOM file, with or without the 132 bytes before it; empty for whatever cannot be read."""
    try:
        with quiet():
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            return str(dataset.get("SOPClassUID", ""))
    except Exception:  # pydicom documents none of what it raises for damaged files
        return ""
