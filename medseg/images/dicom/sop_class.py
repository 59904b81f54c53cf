"""What kind of DICOM object a file is, asked without an error."""

from __future__ import annotations

from pathlib import Path

import pydicom

from medseg.images.dicom.files import is_dicom
from medseg.images.dicom.quiet import quiet

SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # and Label Map Segmentation
STRUCTURE_SET = ("1.2.840.10008.5.1.4.1.1.481.3",)


def has_class(path: Path, sop_classes: tuple[str, ...]) -> bool:
    """Whether a file is DICOM of one of these classes (SOPClassUID); False for whatever cannot be read."""
    if not path.is_file() or not is_dicom(path):
        return False
    try:
        with quiet():
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            return str(dataset.get("SOPClassUID", "")) in sop_classes
    except Exception:  # pydicom documents none of what it raises for damaged files
        return False
