"""Where a segmentation differs from the label, pixel for pixel: for structures as thin as vessels.

A contour around a vessel one pixel wide hides it; here every pixel of the image is one of the picture.
"""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from medseg.files import replacing

Picture: TypeAlias = NDArray[np.uint8]
_Colour: TypeAlias = tuple[int, int, int]

# Blue and red are told apart by the colour-blind too, and none of the four is a grey of the image.
HIT: _Colour = (225, 250, 225)
MISSED: _Colour = (70, 140, 255)
FALSE_POSITIVE: _Colour = (255, 50, 40)
CONFUSED: _Colour = (255, 215, 0)

# The white of the image, far enough below the colours; and what the mask leaves of all brightness.
_BRIGHTEST, _OUTSIDE = 110.0, 0.35
_LUMINANCE = (0.299, 0.587, 0.114)

# Of the legend, in pixels.
_TEXT, _SWATCH, _MARGIN = 12, 10, 6
_INK: _Colour = (230, 230, 230)


def difference_picture(
    image: NDArray[Any],
    label: NDArray[Any],
    segmentation: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    *,
    legend: bool = True,
) -> Picture:
    """The image in dim grey, and on it what was found, missed, found wrongly, and taken for another class.

    Row 0 and column 0 of the picture are j = 0 and i = 0, as in `contact_sheet`, and every pixel is one
    of the image; the legend adds rows below it and, beside a small image, columns on the right.

    Args:
        image: Shape (i, j), or (i, j, 3) for red, green and blue.
        label: Class values, 0 the background, or booleans; shape (i, j).
        segmentation: As the label. If one of the two is boolean, every class of the other counts as true.
        mask: What counts, shape (i, j): the rest is darkened.
        legend: Whether a strip that names the colours stands below.

    Returns:
        Shape (rows, columns, 3), red, green and blue.

    Raises:
        ValueError: the shapes do not fit, or label or segmentation is neither boolean nor integer.
    """
    _check(image, label, segmentation, mask)
    if label.dtype == np.bool_ or segmentation.dtype == np.bool_:
        label, segmentation = label != 0, segmentation != 0
    grey = _grey(image, mask)
    picture = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    truth, found = label != 0, segmentation != 0
    picture[truth & (label == segmentation)] = HIT
    picture[truth & ~found] = MISSED
    picture[~truth & found] = FALSE_POSITIVE
    picture[truth & found & (label != segmentation)] = CONFUSED
    if mask is not None:
        picture[~mask] *= _OUTSIDE
    turned = np.ascontiguousarray(picture.transpose(1, 0, 2).round().astype(np.uint8))
    if not legend:
        return turned
    entries = [("hit", HIT), ("missed", MISSED), ("false positive", FALSE_POSITIVE)]
    if len(np.union1d(label[truth], segmentation[found])) > 1:
        entries.append(("other class", CONFUSED))
    return _above(turned, _legend(entries, turned.shape[1]))


def save_picture(picture: Picture, path: str | os.PathLike[str]) -> None:
    """Write a picture (rows, columns, 3) as PNG; a file of that name is replaced at once or left alone.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as unfinished:
        Pillow.fromarray(picture).save(unfinished, format="PNG")


def _check(
    image: NDArray[Any], label: NDArray[Any], segmentation: NDArray[Any], mask: NDArray[np.bool_] | None
) -> None:
    if image.ndim not in (2, 3) or image.size == 0 or image.shape[2:] not in ((), (3,)):
        raise ValueError(f"the image has shape {image.shape}, not (i, j) or (i, j, 3)")
    for role, array in (("label", label), ("segmentation", segmentation), ("mask", mask)):
        if array is not None and array.shape != image.shape[:2]:
            raise ValueError(f"{role} {array.shape} and image {image.shape[:2]} differ in shape")
    for role, array in (("label", label), ("segmentation", segmentation)):
        if array.dtype != np.bool_ and not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"the {role} is {array.dtype}, neither boolean nor integer")
    if mask is not None and mask.dtype != np.bool_:
        raise ValueError(f"the mask is {mask.dtype}, not boolean")


def _grey(image: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Luminance from 0 to `_BRIGHTEST`, between the percentiles 1 and 99 of what counts."""
    values = image.astype(np.float64)
    if values.ndim == 3:
        values = values @ np.array(_LUMINANCE)
    counted = values if mask is None else values[mask]
    counted = counted[np.isfinite(counted)]
    low, high = np.percentile(counted, (1, 99)) if counted.size else (0.0, 1.0)
    # Infinities are clipped; what is no number at all is black. An even image is black too.
    scaled = np.clip(np.nan_to_num(values, nan=low), low, high) - low
    grey: NDArray[np.float64] = scaled / (high - low or 1.0) * _BRIGHTEST
    return grey


def _legend(entries: list[tuple[str, _Colour]], width: int) -> Picture:
    """A strip of swatches and names, in as many lines as `width` asks for, wide enough for the longest."""
    font = ImageFont.load_default(_TEXT)
    lengths = [_SWATCH + _MARGIN + round(font.getlength(name)) + 2 * _MARGIN for name, _ in entries]
    width = max(width, _MARGIN + max(lengths))
    places, x, line = [], _MARGIN, 0
    for length in lengths:
        if x + length > width:
            x, line = _MARGIN, line + 1
        places.append((x, line))
        x += length
    line_height = _TEXT + _MARGIN
    strip = Pillow.new("RGB", (width, _MARGIN + (line + 1) * line_height))
    draw = ImageDraw.Draw(strip)
    for (name, colour), (x, line) in zip(entries, places, strict=True):
        y = _MARGIN + line * line_height
        draw.rectangle((x, y + 1, x + _SWATCH - 1, y + _SWATCH), fill=colour)
        draw.text((x + _SWATCH + _MARGIN, y - 1), name, fill=_INK, font=font)
    return np.asarray(strip)


def _above(picture: Picture, strip: Picture) -> Picture:
    """The picture and below it the strip, which is as wide or wider."""
    wider = strip.shape[1] - picture.shape[1]
    return np.concatenate([np.pad(picture, ((0, 0), (0, wider), (0, 0))), strip])
