"""TIFF and BigTIFF by tifffile: pages as slices, ImageJ's and OME's sizes, every common compression."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError, MedsegError, reason
from medseg.images.embedded_note import Note, note_from
from medseg.images.geometry import Geometry
from medseg.images.picture import (
    Picture,
    deep_label,
    physical_spacing,
    picture_grid,
    through_palette,
    upright,
    without_alpha,
)

NOTE_LINE = "medseg="  # of the description
_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6  # PhotometricInterpretation
_JPEG = (6, 7, 33003, 33005, 34892)  # compressions whose decoder turns YCbCr into RGB
_ALPHA = (1, 2)  # ExtraSamples
_INCH, _CENTIMETRE = 2, 3  # ResolutionUnit
_UNITS_MM = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "\u03bcm": 1e-3, "\\u00b5m": 1e-3, "micron": 1e-3, "microns": 1e-3}
_UNITS_MM |= {"mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4, "in": 25.4}
_BOMBS = ((1 << 26, 1100), (1 << 30, 200))  # from so many bytes on, at most so many out of one: deflate gives 1032


def read_tiff(path: Path) -> Picture:
    """Read a TIFF of one page, or of pages equal in size and type.

    Raises:
        ImageError: see `raster.read_raster`.
    """
    with _opened(path) as file:
        series = _series(file, path)
        page = series.keyframe
        pixels, warnings = _ordered(series.asarray(), series.axes, path)
        note = _note(page)
        picture = Picture(pixels, _spacing(file, page), _is_stack(series), note, warnings=warnings)
        return upright(_interpreted(picture, page, path), _tag(page, 274, 1))


def read_tiff_grid(path: Path) -> Geometry:
    """The grid of a TIFF, from its headers.

    Raises:
        ImageError: see `raster.read_raster`.
    """
    with _opened(path) as file:
        series = _series(file, path)
        page = series.keyframe
        empty, _ = _ordered(np.broadcast_to(np.uint8(0), series.shape), series.axes, path)
        picture = upright(Picture(empty, _spacing(file, page)), _tag(page, 274, 1))
        pages, rows, columns = picture.pixels.shape[:3]
        return picture_grid((columns, rows, pages), picture.spacing, _note(page), path)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """tifffile's file; whatever it raises on bad bytes becomes an ImageError."""
    import tifffile

    logging.getLogger("tifffile").addHandler(_NO_LOG)
    try:
        with tifffile.TiffFile(path, _multifile=False) as file:
            yield file
    except MedsegError:
        raise
    except Exception as error:
        raise ImageError(f"{path}: truncated or damaged TIFF ({reason(error)}); fetch or convert it again") from error


_NO_LOG = logging.NullHandler()


def _series(file: Any, path: Path) -> Any:
    """The one series of a file, all of whose bytes are there."""
    if _pages_in_chain(file) != len(file.pages):
        raise ImageError(f"{path}: truncated TIFF: its list of pages is cut short; fetch or convert it again")
    if len(file.series) != 1:
        shapes = ", ".join(_product(each.shape) for each in file.series[:4])
        raise ImageError(
            f"{path}: holds {len(file.series)} pictures of different sizes or types ({shapes}); save the one you mean"
        )
    series = file.series[0]
    size = path.stat().st_size
    if any(series.nbytes > least and series.nbytes > ratio * size for least, ratio in _BOMBS):
        raise ImageError(f"{path}: {size} bytes claim to hold {series.nbytes}; if that is true, save it uncompressed")
    if min(series.shape) < 1:
        raise ImageError(f"{path}: damaged TIFF: axes of lengths {series.shape}; fetch or convert it again")
    if series.dtype is None or series.dtype.kind not in "biuf":
        raise ImageError(f"{path}: holds pixels of type {series.dtype}; save it as whole numbers or floats")
    for page in series.pages:
        parts = zip(page.dataoffsets, page.databytecounts, strict=False) if page is not None else [(0, 0)]
        if any(start == 0 or count == 0 or start + count > size for start, count in parts):
            raise ImageError(f"{path}: truncated TIFF: part of its pixels is missing; fetch or convert it again")
    return series


def _pages_in_chain(file: Any) -> int:
    """How many pages the file's chain of directories has; one more where it leads beyond the file."""
    handle, layout = file.filehandle, file.tiff
    seen: set[int] = set()
    handle.seek(4 if layout.offsetsize == 4 else 8)
    offset = struct.unpack(layout.offsetformat, handle.read(layout.offsetsize))[0]
    while offset and offset not in seen:
        seen.add(offset)
        try:
            handle.seek(offset)
            entries = struct.unpack(layout.tagnoformat, handle.read(layout.tagnosize))[0]
            handle.seek(offset + layout.tagnosize + entries * layout.tagsize)
            offset = struct.unpack(layout.offsetformat, handle.read(layout.offsetsize))[0]
        except (struct.error, ValueError, OSError):
            return len(seen) + 1
    return len(seen)


def _ordered(pixels: NDArray[Any], axes: str, path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """As `(page, row, column[, channel])`."""
    warnings: tuple[str, ...] = ()
    keep = [n for n, (axis, length) in enumerate(zip(axes, pixels.shape, strict=True)) if length > 1 or axis in "YX"]
    pixels = pixels.reshape([pixels.shape[n] for n in keep])
    names = "".join(axes[n] for n in keep).translate(str.maketrans("IQS", "ZZC"))
    if "T" in names and "Z" not in names:
        names = names.replace("T", "Z")
        warnings = ("time points taken as slices",)
    if len(set(names)) < len(names) or not set("YX") <= set(names) <= set("ZYXC"):
        raise ImageError(f"{path}: has axes {axes} {pixels.shape}; expected pages, rows, columns and channels")
    if "Z" not in names:
        names, pixels = "Z" + names, pixels[None]
    return pixels.transpose([names.index(axis) for axis in "ZYXC" if axis in names]), warnings


def _interpreted(picture: Picture, page: Any, path: Path) -> Picture:
    """Bright as high values, palettes as colours, transparency left out."""
    pixels, photometric = picture.pixels, int(page.photometric)
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    picture = replace(picture, pixels=pixels)
    if photometric == _PALETTE:
        palette = np.asarray(page.colormap).T
        palette = palette >> 8 if palette.max() > 255 else palette
        return through_palette(picture, palette, path)
    if photometric == _WHITE_IS_0 and pixels.dtype.kind == "u":
        top = 2**page.bitspersample - 1
        warnings = (*picture.warnings, "white is stored as 0 in it: inverted, so that bright is high")
        return replace(picture, pixels=(top - pixels).astype(pixels.dtype), warnings=warnings)
    is_rgb = photometric in (_RGB, _BLACK_IS_0, _WHITE_IS_0)
    if not is_rgb and not (photometric == _YCBCR and int(page.compression) in _JPEG):
        raise ImageError(f"{path}: its colours are of kind {page.photometric}; save it as RGB or grey")
    extra = tuple(int(each) for each in page.extrasamples)
    if pixels.ndim == 4 and extra and extra[-1] in _ALPHA:
        return without_alpha(picture)
    return deep_label(picture)


def _is_stack(series: Any) -> bool:
    return any(axis in "ZIQT" and length > 1 for axis, length in zip(series.axes, series.shape, strict=True))


def _spacing(file: Any, page: Any) -> tuple[float, float, float]:
    """mm between columns, rows and pages; ImageJ's and OME's before the resolution tags."""
    x, y = (_per_unit(page, code) for code in (282, 283))
    if file.is_imagej:
        fields = file.imagej_metadata or {}
        unit = _UNITS_MM.get(str(fields.get("unit", "")).lower())
        if unit is None or x <= 0 or y <= 0:
            return 1.0, 1.0, 1.0
        z = _positive(fields.get("spacing")) * unit
        return unit / x, unit / y, z or 1.0
    if file.is_ome:
        return _ome_spacing(file)
    to_inch = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(_tag(page, 296, 1))
    return (*physical_spacing((x * to_inch, y * to_inch) if to_inch else None), 1.0)


def _ome_spacing(file: Any) -> tuple[float, float, float]:
    """OME-XML: `PhysicalSizeX="0.5" PhysicalSizeXUnit="µm"`, the unit being µm where it is absent."""
    import re

    sizes = []
    for axis in "XYZ":
        found = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', file.ome_metadata or "")
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', file.ome_metadata or "")
        factor = _UNITS_MM.get(unit.group(1).lower() if unit else "um", 0.0)
        sizes.append(_positive(found.group(1) if found else 0) * factor or 1.0)
    return sizes[0], sizes[1], sizes[2]


def _positive(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if 0 < number < float("inf") else 0.0


def _per_unit(page: Any, code: int) -> float:
    value = _tag(page, code, None)
    try:
        return float(value[0] / value[1])
    except (TypeError, IndexError, ZeroDivisionError):
        return 0.0


def _tag(page: Any, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value


def _note(page: Any) -> Note | None:
    for line in (page.description or "").splitlines():
        if line.startswith(NOTE_LINE):
            return note_from(line.removeprefix(NOTE_LINE))
    return None


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)
