"""The one door for images: what a path holds is decided by its content.

`PATH::SERIES` names one of several DICOM series in a folder: its number in the list that `medseg inspect`
prints, its UID or its description. `PATH::PAGE` names one page of a TIFF, counted from 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medseg.errors import ImageError
from medseg.images.coding import LabelCoding
from medseg.images.dicom import is_dicom, read_dicom, read_dicom_geometry
from medseg.images.dicom.rtstruct_read import is_rtstruct, read_rtstruct
from medseg.images.dicom.seg_read import is_seg, read_seg, read_seg_geometry
from medseg.images.geometry import Geometry, reordered
from medseg.images.image import Image
from medseg.images.itk import is_itk, read_itk, read_itk_geometry
from medseg.images.nifti import count_nifti_channels, is_nifti, read_nifti, read_nifti_geometry
from medseg.images.page import page_grid, page_of
from medseg.images.raster import is_raster, read_raster, read_raster_geometry

EXPECTED = "expected a NIfTI, DICOM, NRRD, MetaImage, PNG, JPEG, TIFF, BMP or GIF file, or a folder of DICOM files"


@dataclass(frozen=True)
class _Format:
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Image]
    read_geometry: Callable[[Path], Geometry]
    has_pages: bool = False
    count_channels: Callable[[Path], int] | None = None


_FILE_FORMATS = (
    _Format(is_nifti, read_nifti, read_nifti_geometry, count_channels=count_nifti_channels),
    _Format(is_seg, read_seg, read_seg_geometry),
    _Format(is_dicom, read_dicom, read_dicom_geometry),
    _Format(is_itk, read_itk, read_itk_geometry),
    _Format(is_raster, read_raster, read_raster_geometry, has_pages=True),
)


def read_image(path: str | os.PathLike[str], *, nan: float | None = None) -> Image:
    """Read an image: a file of any format, or a folder that holds one DICOM series.

    Args:
        path: may end in `::SERIES` or `::PAGE`, see above.
        nan: what NaN and infinity are replaced by, with a warning; None to refuse an image that holds any.

    Raises:
        ImageError: naming the file, what is wrong with it, and what to do.
    """
    place, part = split_series(path)
    if place.is_dir() or (part is not None and is_dicom(place)):
        return _finite(read_dicom(place, series=part), nan)
    image = _format_of(place, part).read(place)
    return _finite(image if part is None else page_of(image, part), nan)


def _finite(image: Image, nan: float | None) -> Image:
    if image.array.dtype.kind != "f":
        return image
    finite = np.isfinite(image.array)
    wrong = finite.size - int(np.count_nonzero(finite))
    if not wrong:
        return image
    told = f"{wrong} voxels are NaN, infinite or beyond float32"
    if nan is None:
        raise ImageError(f"{image.path}: {told}; replace them, for example by `medseg convert --nan 0`")
    array = np.where(finite, image.array, np.float32(nan))
    return replace(image, array=array, warnings=(*image.warnings, f"{told}; they were replaced by {nan:g}"))


def read_geometry(path: str | os.PathLike[str]) -> Geometry:
    """The grid of an image, from headers alone.

    Raises:
        ImageError: as `read_image`.
    """
    place, part = split_series(path)
    if place.is_dir() or (part is not None and is_dicom(place)):
        return read_dicom_geometry(place, series=part)
    grid = _format_of(place, part).read_geometry(place)
    return grid if part is None else page_grid(grid, part, place)


def count_channels(path: str | os.PathLike[str]) -> int | None:
    """How many channels an image has, where its header tells that; None where it must be read whole to know.

    Raises:
        ImageError: as `read_image`.
    """
    place, part = split_series(path)
    count = None if place.is_dir() or part is not None else _format_of(place).count_channels
    return None if count is None else count(place)


def read_label(
    path: str | os.PathLike[str],
    *,
    grid: Geometry | None = None,
    coding: LabelCoding | None = None,
    nan: float | None = None,
) -> Image:
    """Read a label: class values on the grid of its image.

    DICOM SEG objects and RT structure sets are drawn onto `grid`; every other label must lie on it, and is
    brought into its order of axes where another tool stored it with others. Overlapping structures come as
    one channel each.

    Args:
        path: any format that `read_image` takes, or an RT structure set.
        grid: of the image that the label belongs to; None to take the label's own.
        coding: how the file tells the classes; None for whole numbers.
        nan: as for `read_image`.

    Raises:
        ImageError: as `read_image`; for values that are no whole numbers, or no colours of the coding; where
            the grids differ.
    """
    place, _ = split_series(path)
    if place.is_file() and is_rtstruct(place):
        if grid is None:
            raise ImageError(f"{place}: an RT structure set has no grid of its own; name its image series too")
        return read_rtstruct(place, grid=grid)
    if place.is_file() and is_seg(place):
        return read_seg(place, grid=grid)
    label = (coding or LabelCoding()).decode(read_image(path, nan=nan))
    return label if grid is None else on_grid(label, grid)


def on_grid(label: Image, grid: Geometry) -> Image:
    """A label on the grid of its image.

    It may have other axes, where another tool stored it so. Of pictures that tell no place but a resolution at most,
    which mask and image seldom share, only the pixels count.

    Raises:
        ImageError: if it lies elsewhere.
    """
    if label.geometry.agrees_with(grid):
        return label
    are_pictures = label.spatial_dims == 2 and label.geometry.has_no_place and grid.has_no_place
    if are_pictures and label.geometry.shape == grid.shape:
        return replace(label, geometry=grid)
    turned = reordered(label.array, label.geometry, grid)
    if turned is None:
        raise ImageError(f"{label.path}: not on the grid of its image: {label.geometry.difference(grid)}")
    return replace(label, array=turned, geometry=grid)


def read_label_parts(
    paths: Sequence[str | os.PathLike[str]], *, grid: Geometry | None = None, coding: LabelCoding | None = None
) -> Image:
    """Read a label of several files, as where every lesion of an image has its own; the last wins.

    Raises:
        ImageError: as `read_label`, where one is on another grid than the first, and where none tells of a class.
    """
    paths = (coding or LabelCoding()).parts(paths)
    first = read_label(paths[0], grid=grid, coding=coding)
    others = [read_label(path, grid=grid or first.geometry, coding=coding) for path in paths[1:]]
    if not others:
        return first
    array = first.array.astype(np.result_type(first.array, *(each.array for each in others)))
    for each in others:
        if each.array.shape != array.shape:
            raise ImageError(f"{each.path}: {each.array.shape}, but {first.path} has {array.shape}; fetch them again")
        np.copyto(array, each.array, where=each.array > 0)
    return replace(first, array=array)


def needs_grid(path: str | os.PathLike[str]) -> bool:
    """Whether a label is drawn on the grid of its image: a DICOM SEG, an RT structure set."""
    place = Path(path)
    return place.is_file() and (is_seg(place) or is_rtstruct(place))


def read_channels(paths: list[str | os.PathLike[str]], *, nan: float | None = None) -> Image:
    """Read several images of one grid, such as MRI sequences, as the channels of one.

    Raises:
        ImageError: as `read_image`, and naming the first file that lies on another grid.
    """
    images = [read_image(path, nan=nan) for path in paths]
    first = images[0]
    for each in images[1:]:
        if not each.geometry.agrees_with(first.geometry):
            raise ImageError(
                f"{each.path}: a channel on another grid than {first.path}: {each.geometry.difference(first.geometry)}"
            )
    stacked = [each.array if each.array.ndim == 4 else each.array[..., None] for each in images]
    return replace(
        first,
        array=np.concatenate(stacked, axis=3),
        files=tuple(file for each in images for file in each.files),
        rounded=sum(each.rounded for each in images),
        warnings=tuple(warning for each in images for warning in each.warnings),
    )


def split_series(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """An existing path and the series or page named behind `::`, if one is.

    Raises:
        ImageError: if it does not exist or may not be read.
    """
    place, series = Path(path), None
    if "::" in str(path) and not _exists(place):
        head, _, series = str(path).rpartition("::")
        place = Path(head)
    if not _exists(place):
        raise ImageError(f"{place}: does not exist; {EXPECTED}")
    if not os.access(place, os.R_OK):
        raise ImageError(f"{place}: may not be read; ask its owner for permission")
    return place, series


def is_image(path: Path) -> bool:
    """Whether a file's content is that of an image or label map (an RT structure set is neither)."""
    return path.is_file() and any(each.recognises(path) for each in _FILE_FORMATS)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError:  # a loop of links and a name of 300 letters are none either
        return False
    return True


def _format_of(path: Path, part: str | None = None) -> _Format:
    if not path.is_file():  # opening a pipe would wait for ever
        raise ImageError(f"{path}: neither a file nor a folder; {EXPECTED}")
    for each in _FILE_FORMATS:
        if each.recognises(path):
            if part is not None and not each.has_pages:
                raise ImageError(f"{path}: holds neither series nor pages; leave '::{part}' out")
            return each
    raise ImageError(_why_no_image(path))


def _why_no_image(path: Path) -> str:
    if path.stat().st_size == 0:
        return f"{path}: an empty file of 0 bytes; fetch or convert it again"
    if is_rtstruct(path):
        return f"{path}: an RT structure set, which holds contours and no image; use it as a label"
    return f"{path}: no image that medseg knows, or too damaged to tell; {EXPECTED}"
