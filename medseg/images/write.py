"""The one door out: a label map or an image to a file, by the suffix of its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import OutputError
from medseg.images.dicom.seg_write import write_seg
from medseg.images.geometry import Geometry
from medseg.images.itk import write_itk
from medseg.images.nifti_write import write_nifti
from medseg.images.raster_write import write_raster
from medseg.images.read import split_series
from medseg.types import LabelClass

_NIFTI, _ITK, _RASTER = (".nii", ".nii.gz"), (".nrrd", ".mha"), (".png", ".tif", ".tiff")
HIGHEST_LABEL = 65535  # in a label map that is written: uint16
SUFFIXES = (*_NIFTI, *_ITK, *_RASTER)


def write_labels(
    path: str | os.PathLike[str], labels: NDArray[Any], geometry: Geometry, *, classes: Sequence[LabelClass] = ()
) -> None:
    """Write a label map `(i, j, k)` on exactly this grid, in the smallest unsigned type, compressed.

    The suffix decides: NIfTI (`.nii.gz`, `.nii`; class names in the header), `.nrrd`, `.mha`, or a picture
    whose colours are those of the classes (`.png`, `.tif`). DICOM SEG needs its source: see `write_dicom_seg`.

    Raises:
        ValueError: if the shape is not the grid's or a value is no whole number from 0 to 65535.
        OutputError: if the file cannot be written, or the format cannot hold it.
    """
    if labels.shape != geometry.shape:
        raise ValueError(f"labels have shape {labels.shape}, the grid {geometry.shape}")
    _write(Path(path), _smallest_type(labels), geometry, classes)


def write_dicom_seg(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    *,
    source: str | os.PathLike[str],
    classes: Sequence[LabelClass],
    algorithm_name: str,
    algorithm_version: str,
) -> None:
    """Write a label map `(i, j, k)` as DICOM SEG that refers to every image of its source.

    Args:
        path: the file, ending in `.dcm`.
        labels: on exactly the grid that `read_image(source)` gives.
        source: DICOM file or folder of the scan; may end in `::SERIES`.
        classes: of every value but 0 in `labels`: names, colours and coded terms of the segments.
        algorithm_name: what made the labels, such as a bundle.
        algorithm_version: of that.

    Raises:
        ValueError: if the shape is not the source's or a value is no whole number from 0 to 65535.
        ImageError: if the source is no DICOM image.
        OutputError: if the file cannot be written.
    """
    place, series = split_series(source)
    write_seg(
        Path(path),
        _smallest_type(labels),
        source=place,
        series=series,
        classes=classes,
        algorithm_name=algorithm_name,
        algorithm_version=algorithm_version,
    )


def write_volume(path: str | os.PathLike[str], array: NDArray[Any], geometry: Geometry) -> None:
    """Write voxels `(i, j, k[, channel])` on this grid, in the array's own type; the suffix decides the format.

    Raises:
        OutputError: if the file cannot be written, or the format cannot hold it.
    """
    _write(Path(path), array, geometry)


def _write(path: Path, array: NDArray[Any], geometry: Geometry, classes: Sequence[LabelClass] = ()) -> None:
    suffix = _suffix(path)
    if suffix in _NIFTI:
        write_nifti(path, array, geometry, classes=classes)
    elif suffix in _ITK:
        write_itk(path, array, geometry)
    else:
        write_raster(path, array, geometry, classes=classes)


def _smallest_type(labels: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A label map as uint8, or uint16 where a value needs it."""
    low, high = labels.min(), labels.max()
    if low < 0 or high > HIGHEST_LABEL or (labels.dtype.kind == "f" and (labels != np.round(labels)).any()):
        raise ValueError(f"label values run from {low} to {high}: expected whole numbers from 0 to {HIGHEST_LABEL}")
    return labels.astype(np.uint8 if high <= 255 else np.uint16, copy=False)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix
    raise OutputError(f"{path}: no format that can be written; end its name in one of {', '.join(SUFFIXES)}")
