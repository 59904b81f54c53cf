"""Pictures: PNG, JPEG, BMP and GIF by Pillow, TIFF by tifffile; told apart by content."""

from __future__ import annotations

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
from medseg.images.image import Image
from medseg.images.picture import (
    Picture,
    deep_label,
    physical_spacing,
    picture_grid,
    through_palette,
    upright,
    with_transparency,
    without_alpha,
)
from medseg.images.tiff import read_tiff, read_tiff_grid

_STARTS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # their lengths: two letters alone start many a text
_ORIENTATION = 274  # EXIF
_PNG_GREY, _PNG_PALETTE = 0, 3


def is_raster(path: Path) -> bool:
    """Whether a file starts as PNG, JPEG, TIFF, BMP or GIF do."""
    return _format_of(path) is not None


def may_have_pages(path: Path) -> bool:
    """Whether a file is a TIFF: of the others none has more than one picture that is read."""
    return _format_of(path) == "TIFF"


def read_raster(path: Path) -> Image:
    """Read a picture, or the pages of a TIFF as slices, where they are equal in size and type.

    Samples are as stored: 1-bit masks are 0 and 1, 4-bit values 0 to 15, 16-bit colours keep 16 bits. A picture
    with a palette gives its colours, or its grey values where all are grey; one that medseg wrote as a label map
    gives label values and classes. Transparency is left out, EXIF orientation applied, each with a warning.
    The spacing is 1 unless the header tells a physical one (see `picture.physical_spacing`).

    Raises:
        ImageError: if the file is truncated, damaged or huge; for several frames or pages of different sizes; for
            CMYK, Lab and complex pixels; for NaN.
    """
    kind = _format_of(path)
    if kind is None:
        raise ImageError(f"{path}: neither PNG, JPEG, TIFF, BMP nor GIF")
    if kind == "TIFF":
        return read_tiff(path).to_image(path, kind)
    with _opened(path, kind) as image:
        return _picture(image, path, kind).to_image(path, kind)


def read_raster_geometry(path: Path) -> Geometry:
    """The grid of a picture, from its header.

    Raises:
        ImageError: as `read_raster`, for what the header tells.
    """
    kind = _format_of(path)
    if kind is None:
        raise ImageError(f"{path}: neither PNG, JPEG, TIFF, BMP nor GIF")
    if kind == "TIFF":
        return read_tiff_grid(path)
    with _opened(path, kind) as image:
        _check_frames(image, path, kind)
        columns, rows = image.size
        empty = Picture(np.broadcast_to(np.uint8(0), (1, rows, columns)), _spacing(image))
        picture = upright(empty, _orientation(image))
        shape = (picture.pixels.shape[2], picture.pixels.shape[1], 1)
        return picture_grid(shape, picture.spacing, _note(image), path)


def _format_of(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            start = stream.read(18)
    except OSError:
        return None
    if start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return next((name for mark, name in _STARTS.items() if start.startswith(mark)), None)


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Any]:
    """Pillow's image; whatever it raises on bad bytes, and that is much, becomes an ImageError."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(path, formats=(kind,)) as image:
            yield image
    except MedsegError:
        raise
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning, MemoryError) as error:
        raise ImageError(f"{path}: too large for a {kind} picture ({reason(error)}); save it as TIFF") from error
    except Exception as error:
        raise ImageError(f"{path}: truncated or damaged {kind} ({reason(error)}); fetch or convert it again") from error


def _check_frames(image: Any, path: Path, kind: str) -> None:
    frames = 1 if kind == "JPEG" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{path}: holds {frames} frames; save the one that is meant, or all as the pages of a TIFF")


def _picture(image: Any, path: Path, kind: str) -> Picture:
    _check_frames(image, path, kind)
    picture = Picture(np.empty(0), _spacing(image), note=_note(image))
    depth, colour_type = _png_type(path) if kind == "PNG" else (8, _PNG_GREY)
    if depth == 16 and colour_type != _PNG_GREY:
        picture = replace(picture, pixels=_deep_png(path)[None])  # Pillow gives 8 of the 16 bits
    elif image.mode == "P":
        picture = _palette_picture(image, picture, path)
    elif image.mode in ("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L"):
        pixels = _samples(image, depth if colour_type == _PNG_GREY else 8)[None]
        picture = deep_label(replace(picture, pixels=pixels))
    else:
        raise ImageError(f"{path}: its pixels are {image.mode}; save it as RGB or grey")
    if picture.pixels.ndim == 4 and picture.pixels.shape[3] in (2, 4):
        picture = without_alpha(picture)
    return upright(picture, _orientation(image))


def _samples(image: Any, depth: int) -> NDArray[Any]:
    pixels = np.array(image)
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    if depth in (2, 4):  # Pillow stretches them to 0-255
        pixels = pixels // (255 // (2**depth - 1))
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _palette_picture(image: Any, picture: Picture, path: Path) -> Picture:
    indices = np.array(image)[None]
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    alpha = np.full(256, 255)
    clear = image.info.get("transparency")
    if isinstance(clear, bytes):
        alpha[: len(clear)] = np.frombuffer(clear, np.uint8)
    elif isinstance(clear, int):
        alpha[clear] = 0
    shown = np.zeros((256, 3), np.uint8)
    shown[: len(palette)] = palette
    picture = with_transparency(picture, alpha[indices] < 255, alpha[indices] == 0, shown[indices])
    return through_palette(replace(picture, pixels=indices), palette, path)


def _png_type(path: Path) -> tuple[int, int]:
    """Bits of a sample and colour type, from the header (PNG specification, IHDR)."""
    with path.open("rb") as stream:
        header = stream.read(26)
    return header[24], header[25]


def _deep_png(path: Path) -> NDArray[np.uint16]:
    import imagecodecs

    pixels: NDArray[np.uint16] = imagecodecs.png_decode(path.read_bytes())
    return pixels


def _note(image: Any) -> Note | None:
    text = image.info.get("medseg")
    return note_from(text) if isinstance(text, str) else None


def _spacing(image: Any) -> tuple[float, float, float]:
    return (*physical_spacing(image.info.get("dpi")), 1.0)


def _orientation(image: Any) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1
