"""What pictures of every format have in common: pixels in rows, a spacing, and no place in the world.

In our axes i is the column (x, to the right), j the row (y, downwards), k the page. With no patient in it a
picture lies where ITK puts it: x to the left, y to the back, pages upwards, in RAS+ mm `diag(-sx, -sy, sz, 1)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.colours import distinct_colours
from medseg.errors import ImageError
from medseg.images.embedded_note import Note
from medseg.images.geometry import Geometry
from medseg.images.image import Image
from medseg.images.values import count_rounded, eight_bits, float32, packed_colours
from medseg.types import LabelClass

_INCH_MM = 25.4
_PRINT_DPI = (72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 220, 240, 300, 350, 400, 600, 1200, 2400)
_ROUNDED_DPI = 0.05  # 72 dpi is 2835 pixels a metre in a PNG, which is 72.009 dpi
_GREY_SPREAD = 4
_PLAUSIBLE_MM = (1e-5, 10.0)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as its file holds it.

    Attributes:
        pixels: `(page, row, column[, channel])`.
        spacing: mm between columns, rows and pages; 1 where the file does not tell.
        is_stack: whether pages are slices of a volume.
        note: what medseg wrote into it.
        is_label: whether the pixels are label values, whose names are in the note.
        hidden: transparent pixels that have the colour of visible ones.
        warnings: odd, and read all the same.
    """

    pixels: NDArray[Any]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    is_stack: bool = False
    note: Note | None = None
    is_label: bool = False
    hidden: int = 0
    warnings: tuple[str, ...] = ()

    def to_image(self, path: Path, format_name: str) -> Image:
        """In our axes, on its grid."""
        stored = np.moveaxis(self.pixels, (0, 1, 2), (2, 1, 0))
        array: NDArray[Any] = float32(stored) if stored.dtype.kind == "f" else stored
        grid = picture_grid((array.shape[0], array.shape[1], array.shape[2]), self.spacing, self.note, path)
        return Image(
            array=array,
            geometry=grid,
            path=path,
            format=format_name,
            files=(path,),
            spatial_dims=3 if self.is_stack else 2,
            classes=self.note.classes if self.note and self.is_label else (),
            rounded=count_rounded(stored, array),
            hidden=self.hidden,
            warnings=self.warnings,
        )


def picture_grid(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], note: Note | None, path: Path
) -> Geometry:
    """The grid in medseg's note if it is of this shape, else that of a picture without a place.

    Raises:
        ImageError: if the spacing is none that a grid can have.
    """
    if note is not None and note.grid is not None and note.grid.shape == shape:
        return note.grid
    x, y, z = spacing
    try:
        return Geometry(shape, np.diag([-x, -y, z, 1.0]))
    except ValueError as error:
        raise ImageError(f"{path}: spacing {x:g} x {y:g} x {z:g} mm: {error}; mend its header") from error


def physical_spacing(dots_per_inch: Any) -> tuple[float, float]:
    """Spacing in mm (x, y) from a resolution (x, y); 1 where it is a default of screens and printers.

    These are 72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 220, 240, 300, 350, 400, 600, 1200 and 2400 dpi, which
    programs write into every file, and whatever would make pixels larger than 10 mm or smaller than 10 nm.
    """
    try:
        x, y = (_INCH_MM / float(dots) for dots in dots_per_inch)
    except (TypeError, ValueError, ZeroDivisionError):
        return 1.0, 1.0
    is_print = [any(abs(_INCH_MM / each - dpi) < _ROUNDED_DPI for dpi in _PRINT_DPI) for each in (x, y) if each > 0]
    low, high = _PLAUSIBLE_MM
    if any(is_print) or not (low <= x <= high and low <= y <= high):
        return 1.0, 1.0
    return x, y


def without_alpha(picture: Picture) -> Picture:
    """Without its last channel, transparency; a warning where that shows anywhere. Colours stay as stored."""
    alpha = picture.pixels[..., -1]
    full = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    pixels = picture.pixels[..., :-1]
    picture = with_transparency(picture, alpha < full, alpha == 0, pixels)
    return replace(picture, pixels=pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def with_transparency(
    picture: Picture, clear: NDArray[np.bool_], hidden: NDArray[np.bool_], colours: NDArray[Any]
) -> Picture:
    """With a warning for pixels that are not opaque, and the number of those that are hidden among their like.

    Args:
        clear: which are not opaque, `(page, row, column)`.
        hidden: which are not there at all.
        colours: `(page, row, column, channel)`.
    """
    count = int(clear.sum())
    if not count:
        return picture
    told = f"{count} pixels are transparent; their colour was taken as stored"
    picture = replace(picture, warnings=(*picture.warnings, told))
    if not hidden.any() or colours.dtype.kind not in "iu":
        return picture
    packed = packed_colours(eight_bits(colours)) & 0xFFFFFF
    visible = np.zeros(1 << 24, bool)  # a table of all colours: photographs are transparent too
    visible[packed[~hidden]] = True
    return replace(picture, hidden=int(hidden.sum() if hidden.all() else visible[packed[hidden]].sum()))


def through_palette(picture: Picture, palette: NDArray[Any], path: Path) -> Picture:
    """The colours that the pixels, indices, stand for, or their grey values where all that occur are grey.

    Grey is what differs by 4 of 255 at most: palettes of old GIF files are cut to 5 or 6 bits. Indices stay where
    medseg's note says that they are label values, and the palette is still the one of the note's classes: programs
    that save a picture again may number its colours anew.

    Args:
        picture: of indices.
        palette: 0 to 255, shape (colours, 3).
        path: for the error.

    Raises:
        ImageError: if an index is beyond the palette.
    """
    used = np.flatnonzero(np.bincount(picture.pixels.ravel()))
    if used[-1] >= len(palette):
        raise ImageError(f"{path}: a pixel has colour {used[-1]} of a palette of {len(palette)}; fetch it again")
    colours = palette.astype(np.uint8)
    note = picture.note
    if note and note.is_label and used[-1] < 256 and (colours[used] == label_colours(note.classes)[used]).all():
        return replace(picture, is_label=True)
    if np.ptp(colours[used].astype(int), axis=1).max() <= _GREY_SPREAD:
        colours = np.round(colours.mean(axis=1)).astype(np.uint8)
    return replace(picture, pixels=colours[picture.pixels])


def deep_label(picture: Picture) -> Picture:
    """Grey values of 16 bits are label values if medseg's note says so: above 255 there is no palette."""
    note, pixels = picture.note, picture.pixels
    is_label = note is not None and note.is_label and pixels.dtype == np.uint16 and pixels.ndim == 3
    return replace(picture, is_label=is_label)


def label_colours(classes: Sequence[LabelClass]) -> NDArray[np.uint8]:
    """256 colours: those of the classes, distinct ones for other values, black for 0."""
    colours = distinct_colours(range(1, 256)) | {0: (0, 0, 0)}
    colours |= {each.value: each.colour for each in classes if each.colour is not None and each.value < 256}
    return np.array([colours[value] for value in range(256)], np.uint8)


def upright(picture: Picture, orientation: int) -> Picture:
    """Turned as EXIF's or TIFF's orientation (1 to 8) says, so that row 0 is the top and column 0 the left."""
    if orientation not in range(2, 9):
        return picture
    pixels, (x, y, z) = picture.pixels, picture.spacing
    if orientation >= 5:
        pixels, x, y = pixels.swapaxes(1, 2), y, x
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    warning = f"turned upright (its header says orientation {orientation})"
    return replace(picture, pixels=pixels, spacing=(x, y, z), warnings=(*picture.warnings, warning))
