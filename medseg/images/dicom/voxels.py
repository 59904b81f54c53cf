"""The voxels of a stack of planes: read once, each straight to its place, rescaled.

Whole numbers stay whole: a slope and intercept without fraction are applied in 16 bits modulo 2**16 while the
true range is kept, and where that fits int16 or uint16 the bits are already right. Else all is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.images.dicom.frames import Frame
from medseg.images.dicom.headers import Header
from medseg.images.dicom.pixels import decode, is_native_grey, open_dataset, read_native, stored, stored_type

_THREADS = 4
# Pictures that are looked at, not measured: their MONOCHROME1 is turned so that dense is bright.
_PROJECTIONS = ("CR", "DX", "MG", "IO", "PX", "XA", "RF", "RG", "RTIMAGE")


@dataclass(frozen=True)
class Voxels:
    """`array` is `(i, j, k)`, or `(i, j, k, 3)` RGB; `warnings` is what is odd and right."""

    array: NDArray[Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Plane:
    """What was seen of one plane while it was read."""

    low: int
    high: int
    padded: int


# Fills the place of a plane; the plane is given where it was decoded, else it is read from its file.
_Read = Callable[[Frame, NDArray[Any], NDArray[Any] | None], _Plane]


def read_voxels(frames: Sequence[Frame]) -> Voxels:
    """Read the voxels of planes in the order of k.

    int16 or uint16 (8 bits where nothing is rescaled) where every value is a whole number that fits, else float32.

    Raises:
        ImageError: if a file is truncated, or cannot be decoded exactly here.
    """
    first = frames[0].header
    if first.samples > 1 or first.photometric == "PALETTE COLOR":
        return Voxels(_colour(frames), ())
    whole = all(_is_whole(frame) for frame in frames)
    array, seen = (_whole if whole else _fractional)(frames)
    if array is None:
        array, seen = _fractional(frames)
    return Voxels(array.transpose(2, 1, 0), tuple(_warnings(frames, seen)))


def _is_whole(frame: Frame) -> bool:
    header = frame.header
    return (
        frame.slope.is_integer()
        and frame.intercept.is_integer()
        and abs(frame.slope) < 2**31
        and abs(frame.intercept) < 2**31
        and header.bits_allocated <= 32
        and not header.values.has("ModalityLUTSequence")
    )


def _whole(frames: Sequence[Frame]) -> tuple[NDArray[Any] | None, list[_Plane]]:
    """Planes `(k, row, column)` as whole numbers; None where they do not fit the smallest types."""
    types = {stored_type(frame.header) for frame in frames}
    plain = all(frame.slope == 1 and frame.intercept == 0 and not _is_turned(frame.header) for frame in frames)
    size = max(kind.itemsize for kind in types)
    if not (plain and len(types) == 1):
        size = max(size, 2)
    bits = np.dtype(f"u{size}")
    volume = np.empty((len(frames), frames[0].header.rows, frames[0].header.columns), bits)

    def read(frame: Frame, out: NDArray[Any], plane: NDArray[Any] | None) -> _Plane:
        if plane is None:
            read_native(frame, out)
            plane = out.view(stored_type(frame.header))
        else:
            out[...] = plane.astype(bits)  # a negative number modulo 2**16
        low, high = int(plane.min()), int(plane.max())
        padded = _padded(frame.header, plane)
        slope, intercept = _linear(frame)
        if slope != 1:
            np.multiply(out, bits.type(slope % 2 ** (8 * size)), out=out)
        if intercept != 0:
            np.add(out, bits.type(intercept % 2 ** (8 * size)), out=out)
        ends = sorted((low * slope + intercept, high * slope + intercept))
        return _Plane(ends[0], ends[1], padded)

    seen = _each(frames, volume, read)
    low, high = min(each.low for each in seen), max(each.high for each in seen)
    kinds = [next(iter(types))] if plain and len(types) == 1 else [np.dtype(f"i{size}"), bits]
    for kind in kinds:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return volume.view(kind), seen
    return None, seen


def _fractional(frames: Sequence[Frame]) -> tuple[NDArray[Any], list[_Plane]]:
    """Planes `(k, row, column)` as float32, rescaled in float64."""
    volume = np.empty((len(frames), frames[0].header.rows, frames[0].header.columns), np.float32)

    def read(frame: Frame, out: NDArray[Any], plane: NDArray[Any] | None) -> _Plane:
        plane = stored(frame) if plane is None else plane
        slope, intercept = _linear(frame)
        out[...] = plane.astype(np.float64) * slope + intercept
        return _Plane(0, 0, _padded(frame.header, plane))

    return volume, _each(frames, volume, read)


def _colour(frames: Sequence[Frame]) -> NDArray[Any]:
    first = next(_decoded(frames[:1]))
    volume = np.empty((len(frames), *first.shape), first.dtype)
    for index, plane in enumerate(_decoded(frames)):
        volume[index] = plane
    colours: NDArray[Any] = volume.transpose(2, 1, 0, 3)
    return colours


def _linear(frame: Frame) -> tuple[Any, Any]:
    """Slope and intercept from stored values; whole numbers as int. A turned picture is turned before rescale."""
    slope, intercept = frame.slope, frame.intercept
    if _is_turned(frame.header):  # stored becomes turn - stored
        turn = -1 if frame.header.signed else (1 << frame.header.bits_stored) - 1
        slope, intercept = -slope, intercept + slope * turn
    return _plain(slope), _plain(intercept)


def _plain(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _is_turned(header: Header) -> bool:
    return header.photometric == "MONOCHROME1" and header.modality in _PROJECTIONS


def _padded(header: Header, plane: NDArray[Any]) -> int:
    if header.padding is None:
        return 0
    low, high = header.padding
    return int(np.count_nonzero(plane == low if low == high else (plane >= low) & (plane <= high)))


def _each(frames: Sequence[Frame], volume: NDArray[Any], read: _Read) -> list[_Plane]:
    """Read every plane to its place in `volume`: native ones in several threads, where the types agree at once."""
    if not all(is_native_grey(frame.header) for frame in frames):
        return [read(frame, out, plane) for frame, out, plane in zip(frames, volume, _decoded(frames), strict=True)]

    def one(frame: Frame, out: NDArray[Any]) -> _Plane:
        direct = volume.dtype.kind == "u" and stored_type(frame.header).itemsize == volume.itemsize
        return read(frame, out, None if direct else stored(frame))

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, frames, volume))


def _decoded(frames: Sequence[Frame]) -> Iterator[NDArray[Any]]:
    """The planes one after the other; a file of many frames is opened once."""
    for _, group in groupby(frames, key=lambda frame: id(frame.header)):
        members = list(group)
        dataset = open_dataset(members[0].header)
        for frame in members:
            yield stored(frame) if is_native_grey(frame.header) else decode(frame, dataset)


def _warnings(frames: Sequence[Frame], seen: Sequence[_Plane]) -> Iterator[str]:
    first = frames[0].header
    padded = sum(each.padded for each in seen)
    if padded:
        low, high = first.padding or (0, 0)
        text = f"{low}" if low == high else f"{low} to {high}"
        yield f"{padded} voxels hold the padding value ({text} as stored) and no measurement; they were kept"
    if first.photometric == "MONOCHROME1":
        yield (
            "MONOCHROME1: turned so that dense is bright"
            if _is_turned(first)
            else "MONOCHROME1: meant to be shown with low values bright; the values were kept"
        )
