"""NIfTI out."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medseg.files import replacing
from medseg.images.embedded_note import label_note
from medseg.images.geometry import Geometry
from medseg.images.values import storable
from medseg.types import LabelClass

_LEVEL = 4  # of 9: of label maps two thirds of level 1's size, of a CT half of level 6's time
_LABEL_INTENT, _COMMENT = 1002, 6
_SFORM_MM, _QFORM_MM = 5e-4, 1e-2  # how far float32 (2e-4 at 2 m) and a quaternion may be from the grid


def write_nifti(
    path: Path | str, array: NDArray[Any], geometry: Geometry, *, classes: Sequence[LabelClass] = ()
) -> None:
    """Write voxels `(i, j, k[, channel])` on this grid, gzipped where the name ends in `.gz`.

    sform and qform both have code 1 (scanner); a sheared grid, which a qform cannot say, has its sform alone.
    NIfTI-1, or NIfTI-2 where an axis is longer than 32767 or the grid needs more than float32. Class names go
    into an extension (a comment, JSON) and the intent is label. float16 becomes float32, bool uint8.

    Raises:
        OutputError: if the file cannot be written.
    """
    image = _nifti_image(storable(array), geometry)
    image.header.set_xyzt_units("mm")
    if classes:
        text = label_note(classes).to_text().encode("ascii")
        image.header["intent_code"] = _LABEL_INTENT
        image.header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, text))
    with replacing(path) as beside, beside.open("wb") as file:
        if not str(path).lower().endswith(".gz"):
            image.to_stream(file)
            return
        with gzip.GzipFile("", "wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as stream:
            image.to_stream(stream)


def _nifti_image(array: NDArray[Any], geometry: Geometry) -> Any:
    """NIfTI-1, which everybody reads, if it can hold the shape and the grid; else NIfTI-2, which ITK does not."""
    kinds: tuple[Any, ...] = (nib.Nifti1Image, nib.Nifti2Image)
    for kind in kinds:
        if kind is nib.Nifti1Image and max(array.shape) > np.iinfo(np.int16).max:
            continue
        image = kind(array, geometry.affine, dtype=array.dtype)
        image.header.set_sform(geometry.affine, code=1)
        if _holds(geometry, image.header.get_sform(), _SFORM_MM):
            break
    image.header.set_qform(geometry.affine, code=1, strip_shears=True)
    if not _holds(geometry, image.header.get_qform(), _QFORM_MM):
        image.header["qform_code"] = 0
    image._affine = geometry.affine
    return image


def _holds(geometry: Geometry, affine: NDArray[np.float64], tolerance_mm: float) -> bool:
    return geometry.agrees_with(Geometry(geometry.shape, affine), tolerance_mm=tolerance_mm)
