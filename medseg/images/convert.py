"""From any format that is read to any that is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg import __version__
from medseg.errors import ConfigError, ImageError, OutputError
from medseg.images.dicom import dicom_files
from medseg.images.image import Image
from medseg.images.palette import labels_from_picture, mask_labels
from medseg.images.palette_table import Palette
from medseg.images.read import needs_grid, on_grid, read_geometry, read_image, read_label, split_series
from medseg.images.write import HIGHEST_LABEL, write_dicom_seg, write_labels, write_volume
from medseg.types import LabelClass

PathLike = str | os.PathLike[str]


def convert(
    source: PathLike,
    destination: PathLike,
    *,
    image: PathLike | None = None,
    is_label: bool = False,
    palette: PathLike | None = None,
    foreground: Literal["white", "black"] | None = None,
    nan: float | None = None,
    structure: str | None = None,
) -> tuple[str, ...]:
    """Write `source` in the format that the suffix of `destination` names; voxels keep values and place.

    Args:
        source: an image or label of any format that is read; may end in `::SERIES`.
        destination: `.nii.gz`, `.nii`, `.nrrd`, `.mha`, `.png`, `.tif`; `.dcm` for a label as DICOM SEG.
        image: that the source, then a label map, belongs to: it is drawn on that grid. RT structure sets and the
            writing of a DICOM SEG need it.
        is_label: whether to take the source for a label map though its format does not tell; so it is where
            there is an `image`.
        palette: CSV file of the colours of a colour-coded label picture.
        foreground: the colour of the structure in a black and white mask.
        nan: what NaN and infinity are replaced by, a number that float32 has; None to refuse them.
        structure: name or value of the one structure of a label to take, which alone fits a label map where several
            overlap.

    Returns:
        What the user should know of the source and of what became of it.

    Raises:
        ConfigError: for a `nan` that is none, or a palette and a foreground together.
        ImageError: if the source cannot be read, or is not what the destination needs.
        OutputError: if the destination cannot be written, is what is read, or lies among the slices of its series.
    """
    _check_options(palette, foreground, nan)
    for each in (source,) if image is None else (source, image):
        _check_apart(Path(destination), split_series(each)[0])
    to_seg = Path(destination).suffix.lower() == ".dcm"
    if to_seg and image is None:
        raise ImageError(f"{destination}: a DICOM SEG refers to the images it was made on; name them with --image")
    grid = read_geometry(image) if image is not None else None
    if palette is not None or foreground is not None:
        read, is_label = _from_colours(read_image(source, nan=nan), palette, foreground), True
        read = read if grid is None else on_grid(read, grid)
    elif is_label or image is not None or needs_grid(source):
        read, is_label = read_label(source, grid=grid, nan=nan), True
    else:
        read = read_image(source, nan=nan)
        is_label = bool(read.classes)
    if structure is not None:
        read, is_label = _alone(read, structure), True
    if to_seg:
        return read.warnings + _write_seg(destination, read, image or "")
    if is_label:
        write_labels(destination, _one_map(read), read.geometry, classes=read.classes)
        return read.warnings
    write_volume(destination, read.array, read.geometry)
    return read.warnings + _rounded(read)


def _check_options(palette: PathLike | None, foreground: str | None, nan: float | None) -> None:
    if palette is not None and foreground is not None:
        raise ConfigError("--mask and --palette: a label has two colours or those of a palette; leave out one of them")
    if nan is not None and not abs(nan) <= float(np.finfo(np.float32).max):
        raise ConfigError(f"--nan {nan:g}: is replaced itself; give a number that float32 has, such as 0")


def _check_apart(destination: Path, read: Path) -> None:
    """Nothing that is read is written over, and no file is put among the slices of a series."""
    if destination.exists() and destination.samefile(read):
        raise OutputError(f"{destination}: is read, and would be written over; choose another name")
    folders = {file.parent.resolve() for file in dicom_files(read)} if read.is_dir() else set()
    if destination.parent.resolve() in folders:
        raise OutputError(f"{destination}: lies among the slices of {read}; choose another folder")


def _from_colours(picture: Image, palette: PathLike | None, foreground: Literal["white", "black"] | None) -> Image:
    if palette is not None:
        return labels_from_picture(picture, palette=Palette.from_csv(palette))
    return mask_labels(picture, foreground=foreground or "white")


def _alone(label: Image, structure: str) -> Image:
    """A label with one of its structures, which keeps its value."""
    named = [n for n, each in enumerate(label.classes) if each.name == structure]
    found = named or [n for n, each in enumerate(label.classes) if str(each.value) == structure]
    if len(found) != 1:
        raise ImageError(f"{label.path}: {len(found)} structures are '{structure}'; it has {_listed(label)}")
    known = label.classes[found[0]]
    inside = label.array[..., found[0]] > 0 if label.array.ndim == 4 else label.array == known.value
    return replace(label, array=np.where(inside, known.value, 0), classes=(known,))


def _listed(label: Image) -> str:
    return ", ".join(f"{each.value} '{each.name}'" for each in label.classes) or "none with a name"


def _rounded(image: Image) -> tuple[str, ...]:
    if not image.rounded:
        return ()
    return (f"{image.rounded} voxels have more digits than the 7 of float32, in which they are read, and were rounded",)


def _write_seg(destination: PathLike, label: Image, image: PathLike) -> tuple[str, ...]:
    """Write a DICOM SEG; what to tell of it."""
    labels = _one_map(label)
    classes = _classes(labels, label.classes)
    write_dicom_seg(
        destination,
        labels,
        source=image,
        classes=classes,
        algorithm_name="medseg convert",
        algorithm_version=__version__,
    )
    return _renumbered(classes)


def _renumbered(classes: Sequence[LabelClass]) -> tuple[str, ...]:
    """Which values became which segments, where they are not 1, 2, 3, ... as DICOM numbers these (PS3.3 C.8.20.2)."""
    values = sorted(each.value for each in classes)
    changed = [f"{value} became {number}" for number, value in enumerate(values, 1) if value != number]
    return (f"segments are numbered 1, 2, 3, ...: value {', '.join(changed)}",) if changed else ()


def _classes(labels: NDArray[Any], known: Sequence[LabelClass]) -> list[LabelClass]:
    """A class for every value that occurs; one that the file does not name is named by its value."""
    named = {each.value: each for each in known if each.value > 0}
    found = [int(value) for value in np.unique(labels) if value > 0]
    unnamed = {value: LabelClass(value, f"label {value}") for value in found or [1]}
    return list((unnamed | named).values())


def _one_map(label: Image) -> NDArray[Any]:
    if label.array.ndim != 3:
        raise ImageError(
            f"{label.path}: its structures overlap, which one label map cannot hold; "
            f"take one with --structure: {_listed(label)}"
        )
    low, high = int(label.array.min()), int(label.array.max())
    if low < 0 or high > HIGHEST_LABEL:
        raise ImageError(
            f"{label.path}: labels from {low} to {high}, a label map holds 0 to {HIGHEST_LABEL}; give the others, "
            "such as a -1 for what is to be ignored, a value of these first; an image is converted without --label"
        )
    return label.array
