"""Label maps and DICOM series to disk."""

from __future__ import annotations

import os
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medseg.files import replacing
from medseg.images.geometry import Geometry

_SCANNER = 1  # NIfTI's code for coordinates of the scanner


def write_labels(path: str | os.PathLike[str], labels: NDArray[Any], geometry: Geometry) -> None:
    """Write a label map `(i, j, k)` as gzipped NIfTI on exactly this grid, in the smallest unsigned type.

    sform and qform both hold the affine (RAS+ mm, float32: NIfTI-1's limit), with code 1; for a sheared
    grid, which a qform cannot hold, only the sform.

    Raises:
        ValueError: if the shape is not the grid's or a value is no whole number from 0 to 65535.
        OutputError: if the file cannot be written.
    """
    if labels.shape != geometry.shape:
        raise ValueError(f"labels have shape {labels.shape}, the grid {geometry.shape}")
    low, high = labels.min(), labels.max()
    if low < 0 or high > 65535 or (labels.dtype.kind == "f" and (labels != np.round(labels)).any()):
        raise ValueError(f"label values run from {low} to {high}: expected whole numbers from 0 to 65535")
    array = labels.astype(np.uint8 if high <= 255 else np.uint16)
    with replacing(path) as beside:
        nib.save(nifti_image(array, geometry), beside)


def write_volume(path: str | os.PathLike[str], array: NDArray[Any], geometry: Geometry) -> None:
    """Write voxels `(i, j, k)` as gzipped NIfTI on this grid, in the array's own type.

    Raises:
        OutputError: if the file cannot be written.
    """
    with replacing(path) as beside:
        nib.save(nifti_image(array, geometry), beside)


def nifti_image(array: NDArray[Any], geometry: Geometry) -> Any:
    """The `nibabel.Nifti1Image` of voxels on a grid."""
    image = nib.Nifti1Image(array, geometry.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(geometry.affine, code=_SCANNER)
    axes = geometry.affine[:3, :3] / np.array(geometry.spacing)
    if np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
        image.set_qform(geometry.affine, code=_SCANNER)
    else:
        image.set_qform(None, code=0)
    return image
