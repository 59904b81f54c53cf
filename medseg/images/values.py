"""What voxel values may be: labels are whole numbers, fractions float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError

_HIGHEST_LABEL = 2**31 - 1
_PIECE = 1 << 20


def whole_numbers(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """The values of a label map as integers; floats within 1e-3 of one are rounded.

    Raises:
        ImageError: naming a value that is none, and how many voxels are like it.
    """
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind in "iu":
        return array
    rounded = np.round(array)
    wrong = ~(np.abs(array - rounded) <= 1e-3)  # NaN is wrong too
    if wrong.any():
        raise ImageError(
            f"{path}: {wrong.sum()} voxels, one of them {array[wrong][0]:g}, are no whole numbers, which labels are; "
            "threshold or round them first"
        )
    low, high = rounded.min(), rounded.max()
    if max(-low, high) > _HIGHEST_LABEL:
        raise ImageError(f"{path}: values from {low:g} to {high:g} are no labels; is it an image?")
    return rounded.astype(np.uint8 if low >= 0 and high <= 255 else np.int32)


def eight_bits(array: NDArray[Any]) -> NDArray[Any]:
    """The upper 8 bits of 16, unless they are all 0: some write values of 8 bits into files of 16."""
    return (array >> 8).astype(np.uint8) if array.dtype == np.uint16 and array.max(initial=0) > 255 else array


def packed_colours(colours: NDArray[Any]) -> NDArray[np.int32]:
    """Colours `(..., 3)` or greys `(..., 1)` of 8 bits as 0xRRGGBB `(...)`."""
    red, green, blue = (colours[..., n % colours.shape[-1]] for n in range(3))
    packed: NDArray[np.int32] = (red.astype(np.int32) << 16) | (green.astype(np.int32) << 8) | blue
    return packed


def float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers as float32; those beyond it become infinite, which `read_image` tells."""
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, copy=False)


def count_rounded(stored: NDArray[Any], read: NDArray[np.float32]) -> int:
    """How many finite numbers of more than float32 are others as float32; both arrays have one order in memory."""
    if stored.dtype.kind != "f" or stored.dtype.itemsize <= 4:
        return 0
    before, after = stored.ravel(order="K"), read.ravel(order="K")
    pieces = (slice(start, start + _PIECE) for start in range(0, after.size, _PIECE))
    return sum(int(np.count_nonzero((before[n] != after[n]) & np.isfinite(after[n]))) for n in pieces)


def storable(array: NDArray[Any]) -> NDArray[Any]:
    """The same values in a type that every format has: bool as uint8, float16 as float32."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype == np.float16 else array
