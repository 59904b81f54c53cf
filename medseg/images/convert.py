"""From any format that is read to any that is written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from medseg import __version__
from medseg.errors import ImageError
from medseg.images.dicom.rtstruct_read import is_rtstruct
from medseg.images.dicom.seg_write import write_seg
from medseg.images.geometry import Geometry
from medseg.images.image import Image
from medseg.images.palette import Palette, labels_from_picture
from medseg.images.read import read_geometry, read_image, read_label, split_series
from medseg.images.write import write_labels, write_volume
from medseg.types import LabelClass

_LABEL_FORMATS = ("DICOM SEG", "RTSTRUCT")


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    image: str | os.PathLike[str] | None = None,
    palette: str | os.PathLike[str] | None = None,
    as_label: bool = False,
) -> tuple[str, ...]:
    """Write `source` in the format that the suffix of `destination` names; voxels and their place stay.

    Args:
        source: an image or label of any format that is read; may end in `::SERIES`.
        destination: `.nii.gz`, `.nii`, `.nrrd`, `.mha`, `.png`, `.tif`; `.dcm` for a label as DICOM SEG.
        image: the image that a label belongs to; an RT structure set and a DICOM SEG need it.
        palette: CSV file of the colours of a colour-coded label.
        as_label: take the source for a label map though its format does not tell.

    Returns:
        What the user should know of the source.

    Raises:
        ImageError: if the source cannot be read, or is not what the destination needs.
        OutputError: if the destination cannot be written.
    """
    to_seg = Path(destination).suffix.lower() == ".dcm"
    if to_seg and image is None:
        raise ImageError(f"{destination}: a DICOM SEG refers to the images it was made on; name them with --image")
    grid = read_geometry(image) if image is not None else None
    place, _ = split_series(source)
    if place.is_file() and is_rtstruct(place):
        read = read_label(source, grid=grid)
    else:
        read = _read(source, grid, palette, as_label=as_label or to_seg)
    if to_seg:
        _write_seg(destination, read, image)
    elif as_label or palette is not None or read.format in _LABEL_FORMATS:
        write_labels(destination, _one_map(read), read.geometry, classes=read.classes)
    else:
        write_volume(destination, read.array, read.geometry)
    return read.warnings


def _read(
    source: str | os.PathLike[str], grid: Geometry | None, palette: str | os.PathLike[str] | None, *, as_label: bool
) -> Image:
    if palette is not None:
        return labels_from_picture(read_image(source), palette=Palette.from_csv(Path(palette)))
    return read_label(source, grid=grid) if as_label else read_image(source)


def _write_seg(destination: str | os.PathLike[str], label: Image, image: str | os.PathLike[str] | None) -> None:
    labels = _one_map(label)
    named = {each.value: each for each in label.classes}
    values = [int(value) for value in np.unique(labels) if value > 0]
    classes = [named.get(value, LabelClass(value, f"label {value}")) for value in values]
    write_seg(
        Path(destination),
        labels,
        source=split_series(image or "")[0],
        classes=classes,
        algorithm_name="medseg convert",
        algorithm_version=__version__,
    )


def _one_map(label: Image) -> np.ndarray:
    if label.array.ndim == 3:
        return label.array
    raise ImageError(f"{label.path}: structures overlap, which one label map cannot hold; convert them one by one")
