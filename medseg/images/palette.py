"""Colour-coded labels: colours to label values and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError
from medseg.images.image import Image
from medseg.images.palette_table import Palette, PaletteEntry
from medseg.images.values import eight_bits, packed_colours
from medseg.types import Colour

_BRIGHT = 128  # class values are small
_MOST_OFF = 0.2  # of the pixels: a photograph is no label
_FEWEST = 16  # pixels that an area of one colour must have
MASK_TOLERANCE = 96.0  # between black and white lies no third class, and masks are noisy
JPEG_TOLERANCE = 32.0  # saved as JPEG, of qualities 30 to 90, areas were up to 16 from their colour
_IN_BLOCKS = 0.25  # of a colour's pixels start a 2 x 2 block: edges that were blended never do


def discover_palette(images: Iterable[Image]) -> Palette:
    """The palette of colour-coded labels of which nothing is known: every colour that fills areas.

    Blended edge colours, however many, never fill a block of 2 x 2 pixels and so are left out. The most frequent
    colour is taken for the background unless there is black; the others are named `class 1`, ... in the order
    of their pixels. Lines of one pixel's width and areas below 16 pixels are not found.

    Raises:
        ImageError: if there is no picture, or over 255 colours fill areas: a photograph.
    """
    pixels: Counter[int] = Counter()
    blocks: Counter[int] = Counter()
    path = None
    for image in images:
        path, packed = image.path, _packed(image)
        pixels.update(_counts(packed))
        blocks.update(_counts(packed[_block_starts(packed)]))
    found = [colour for colour, count in pixels.most_common() if _fills(count, blocks[colour])]
    if path is None or not 1 <= len(found) <= 256:
        raise ImageError(f"{path or 'no picture'}: {len(found)} colours fill areas; expected a colour-coded label")
    background = 0 if 0 in found else found[0]
    found.remove(background)
    named = [PaletteEntry(n, f"class {n}", _unpacked(colour)) for n, colour in enumerate(found, 1)]
    return Palette((PaletteEntry(0, "background", _unpacked(background)), *named))


def labels_from_picture(image: Image, *, palette: Palette, tolerance: float = 0.0) -> Image:
    """The label map that a colour-coded picture shows: `(i, j, k)`, uint8 or int32.

    Pixels off the palette, which blended edges are, take the nearest colour's value (Euclid in RGB) and are
    reported as a warning. Areas of a colour that is no palette colour are an error, since a class is missing.

    Args:
        image: grey or RGB of 8 bits; of 16 bits the upper 8 count, unless they are all 0.
        palette: the colours.
        tolerance: how far from its palette colour an area may be (0 to 441); 32 is enough for JPEG.

    Raises:
        ImageError: naming a colour that fills an area, or is one of many, and how many pixels have it.
    """
    check_opaque(image)
    packed = _packed(image)
    colours, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1).astype(np.float64)
    known = np.array([each.colour for each in palette.entries], np.float64)
    nearest, distance = _nearest(rgb, known)
    off = distance > max(tolerance, 0)
    if off.any():
        _check_off(image, packed, colours[off], counts[off])
    if len(set(nearest.tolist())) == 1 and len(colours) > 1 and rgb.max() < _BRIGHT:
        _check_one_class(image, packed, colours, counts)
    warnings = _report(counts, off, distance, rgb)
    values = np.array([each.value for each in palette.entries])
    values = values.astype(np.uint8 if values.min() >= 0 and values.max() <= 255 else np.int32)
    labels = values[nearest][inverse.reshape(packed.shape)]
    return replace(image, array=labels, classes=palette.classes, warnings=(*image.warnings, *warnings))


def check_opaque(image: Image) -> None:
    """Refuse a label whose transparency tells more than its colours do.

    Raises:
        ImageError: naming the file.
    """
    if image.hidden:
        raise ImageError(
            f"{image.path}: {image.hidden} of its pixels are transparent and have the colour of visible ones: is the "
            "drawing in the transparency? save it in opaque colours"
        )


def mask_labels(
    image: Image, *, foreground: Literal["white", "black"] = "white", tolerance: float = MASK_TOLERANCE
) -> Image:
    """The label map (0 and 1) of a black and white mask: 0 and 1, 0 and 255, 0 and 65535, or JPEG's blends of these.

    Args:
        image: grey, or RGB with equal channels.
        foreground: the colour of what the label is of; black for cells drawn black on white.
        tolerance: how far from black and white an area may be (0 to 441).

    Raises:
        ImageError: if areas are neither black nor white.
    """
    array = image.array
    if array.max(initial=0) <= 1:
        array = (array * 255).astype(np.uint8)
    black, white = (0, 1) if foreground == "white" else (1, 0)
    names = {0: "background", 1: "foreground"}
    palette = Palette(
        (PaletteEntry(black, names[black], (0, 0, 0)), PaletteEntry(white, names[white], (255, 255, 255)))
    )
    return labels_from_picture(replace(image, array=array), palette=palette, tolerance=tolerance)


def _packed(image: Image) -> NDArray[np.int32]:
    """Colours as 0xRRGGBB, `(i, j, k)`."""
    array = eight_bits(image.array)
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise ImageError(f"{image.path}: {array.dtype} from {array.min():g} to {array.max():g}; colours are 0 to 255")
    if array.ndim == 4 and array.shape[3] != 3:
        raise ImageError(f"{image.path}: has {array.shape[3]} channels; a colour-coded label has 1 or 3")
    return packed_colours(array if array.ndim == 4 else array[..., None])


def _unpacked(colour: int) -> Colour:
    return colour >> 16, colour >> 8 & 255, colour & 255


def _block_starts(packed: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where a 2 x 2 block of one colour starts."""
    same = np.zeros(packed.shape, bool)
    corner = packed[:-1, :-1]
    same[:-1, :-1] = (corner == packed[1:, :-1]) & (corner == packed[:-1, 1:]) & (corner == packed[1:, 1:])
    return same


def _counts(colours: NDArray[np.int32]) -> dict[int, int]:
    values, counts = np.unique(colours, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _fills(pixels: int, blocks: int) -> bool:
    return pixels >= _FEWEST and blocks >= _IN_BLOCKS * pixels


def _fill_areas(packed: NDArray[np.int32], colours: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of some colours, of so many pixels each, fill areas."""
    if not len(colours):
        return np.zeros(0, bool)
    blocks = _counts(packed[_block_starts(packed)])
    return np.array([_fills(n, blocks.get(colour, 0)) for colour, n in zip(colours.tolist(), counts, strict=True)])


def _nearest(rgb: NDArray[np.float64], known: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index of the nearest known colour and the distance to it, one known colour at a time: pictures are large."""
    nearest, distance = np.zeros(len(rgb), np.intp), np.full(len(rgb), np.inf)
    for n, colour in enumerate(known):
        far = np.linalg.norm(rgb - colour, axis=1)
        nearest[far < distance] = n
        distance = np.minimum(far, distance)
    return nearest, distance


def _check_one_class(image: Image, packed: NDArray[Any], colours: NDArray[Any], counts: NDArray[Any]) -> None:
    """Areas of two colours next to each other, as of the values 0 and 1, that would all be one class."""
    areas = colours[_fill_areas(packed, colours, counts)]
    if len(areas) > 1:
        raise ImageError(
            f"{image.path}: {_unpacked(int(areas[0]))} and {_unpacked(int(areas[1]))} fill areas and would be one "
            "class; are these class values? give the bundle a label_reader of the coding 'values'"
        )


def _check_off(image: Image, packed: NDArray[Any], colours: NDArray[Any], counts: NDArray[Any]) -> None:
    """An area off the palette is a class that the palette lacks; too many pixels off it are no label."""
    solid = _fill_areas(packed, colours, counts)
    if solid.any():
        most = int(np.argmax(np.where(solid, counts, 0)))
        raise ImageError(
            f"{image.path}: {_unpacked(int(colours[most]))} fills areas, {counts[most]} pixels, and is no colour of "
            "the palette; add it, or raise the tolerance (of a bundle: --label_reader::tolerance)"
        )
    if counts.sum() > _MOST_OFF * packed.size:
        worst = int(np.argmax(counts))
        raise ImageError(
            f"{image.path}: {100 * counts.sum() / packed.size:.0f} % of the pixels, {_unpacked(int(colours[worst]))} "
            f"with {counts[worst]} of them, are off the palette; it is no label, has another one, or needs a tolerance"
        )


def _report(
    counts: NDArray[Any], off: NDArray[np.bool_], distance: NDArray[np.float64], rgb: NDArray[np.float64]
) -> tuple[str, ...]:
    if not off.any():
        return ()
    number, farthest = int(counts[off].sum()), int(np.argmax(np.where(off, distance, -1)))
    colour = tuple(int(part) for part in rgb[farthest])
    return (
        f"{number} pixels ({100 * number / counts.sum():.2g} %) in {off.sum()} colours are off the palette and took "
        f"the nearest colour's value; the farthest is {colour}, {distance[farthest]:.0f} away",
    )
