"""What a path holds, in the words of a person who would like to know before using it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError
from medseg.images.dicom import SeriesInfo, is_dicom, list_series
from medseg.images.dicom.rtstruct_read import is_rtstruct, structures_in
from medseg.images.find import find_images
from medseg.images.geometry import Geometry
from medseg.images.image import Image
from medseg.images.raster import is_raster
from medseg.images.read import read_geometry, split_series
from medseg.voxel_samples import evenly_spaced

_MOST_LABELS = 256  # more values than a label map has in practice (TotalSegmentator: 117)


@dataclass(frozen=True)
class LabelVolume:
    """One value of a label map: its name where the file tells it, voxels, and their volume but in a picture."""

    value: int
    name: str | None
    voxels: int
    volume_ml: float | None


@dataclass(frozen=True)
class Description:
    """One image: geometry (spacing and origin in RAS+ mm), values, labels, warnings.

    A picture has two axes, and no spacing where its file tells none. `labels` is empty where the values are not
    those of a label map: whole numbers from 0, few of them.
    """

    path: str
    format: str
    modality: str | None
    shape: tuple[int, ...]
    channels: int | None
    spacing_mm: tuple[float, ...] | None
    orientation: str
    affine: list[list[float]]
    dtype: str
    value_range: tuple[float, float]
    percentiles: tuple[float, float]
    labels: tuple[LabelVolume, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Content:
    """What one file of a folder is, from its header: its grid, or why it has none; a picture has two axes."""

    name: str
    shape: tuple[int, ...] | None
    spacing_mm: tuple[float, ...] | None
    problem: str | None = None


def describe(image: Image) -> Description:
    """Describe an image that was read."""
    low, high = _percentiles(image.array)
    return Description(
        path=str(image.path),
        format=image.format,
        modality=image.modality,
        shape=image.array.shape[: image.spatial_dims],
        channels=image.array.shape[3] if image.array.ndim == 4 else None,
        spacing_mm=_told_spacing(image.geometry, image.path, image.spatial_dims),
        orientation=image.geometry.orientation,
        affine=np.round(image.geometry.affine, 6).tolist(),
        dtype=str(image.array.dtype),
        value_range=(float(image.array.min()), float(image.array.max())),
        percentiles=(low, high),
        labels=_labels(image),
        warnings=image.warnings,
    )


def series_at(path: str | os.PathLike[str]) -> list[SeriesInfo]:
    """The DICOM series of a folder that holds nothing else; empty where there is one, or one is named by `::`.

    Raises:
        ImageError: if the path does not exist, or a file is damaged.
    """
    place, series = split_series(path)
    if series is not None or not (place.is_dir() or is_dicom(place)):
        return []
    if place.is_dir() and any(_is_other_file(Path(each.path)) for each in find_images(place)):
        return []
    found = list_series(place)
    return found if len(found) > 1 else []


def structures_at(path: str | os.PathLike[str]) -> dict[str, int]:
    """The structures of an RT structure set and their contours; empty for every other path.

    Raises:
        ImageError: if the path does not exist, or is a damaged structure set.
    """
    place, _ = split_series(path)
    return structures_in(place) if is_rtstruct(place) else {}


def _is_other_file(path: Path) -> bool:
    return path.is_file() and not is_dicom(path)


def contents_of(folder: str | os.PathLike[str]) -> list[Content]:
    """The images of a folder that is no single series, from their headers.

    Raises:
        ImageError: if there are none.
    """
    return [_content(each.name, each.path) for each in find_images(folder, damaged=True)]


def _content(name: str, path: str) -> Content:
    try:
        geometry = read_geometry(path)
    except ImageError as error:
        return Content(name, None, None, str(error))
    dims = 2 if geometry.shape[2] == 1 and is_raster(Path(path)) else 3
    return Content(name, geometry.shape[:dims], _told_spacing(geometry, Path(path), dims))


def _told_spacing(geometry: Geometry, path: Path, dims: int) -> tuple[float, ...] | None:
    """The spacing along the axes that there are; None of a picture of 1 mm, which one has that does not tell any."""
    spacing = tuple(round(length, 6) for length in geometry.spacing[:dims])
    return None if spacing == (1, 1) and is_raster(path) else spacing


def _labels(image: Image) -> tuple[LabelVolume, ...]:
    voxel_ml = image.geometry.voxel_volume_ml if image.spatial_dims == 3 else None
    names = {each.value: each.name for each in image.classes}
    return tuple(
        LabelVolume(value, names.get(value), voxels, None if voxel_ml is None else voxels * voxel_ml)
        for value, voxels in _voxels(image).items()
    )


def _voxels(image: Image) -> dict[int, int]:
    """Label value -> voxels; empty where the image is no label map."""
    array = image.array
    if array.dtype.kind not in "iub" or int(array.min()) < 0 or int(array.max()) > 65535:
        return {}
    if array.ndim == 4:  # structures that overlap
        channels = {each.value: channel for channel, each in enumerate(image.classes)}
        return {value: int(np.count_nonzero(array[..., channel])) for value, channel in channels.items()}
    counts = np.bincount(array.ravel(order="K").astype(np.uint16), minlength=1)
    values = np.flatnonzero(counts)
    if len(values) > _MOST_LABELS or not _looks_like_labels(image, values):
        return {}
    return {int(value): int(counts[value]) for value in values if value != 0}


def _looks_like_labels(image: Image, values: NDArray[Any]) -> bool:
    """A scan of 8 bits has all values up to its highest; labels are few, or named."""
    return bool(image.classes) or (0 in values and len(values) <= 128 and len(values) * 20 < image.array.size)


def _percentiles(array: NDArray[Any]) -> tuple[float, float]:
    low, high = np.percentile(evenly_spaced(array), (1, 99))
    return float(low), float(high)


def is_folder_of_images(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder that holds files of images, or folders of series, beside each other."""
    place, series = split_series(path)
    return place.is_dir() and series is None and [each.path for each in find_images(place)] != [str(place)]
