"""The header of a NIfTI file, checked before a byte of its voxels is read."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError, reason
from medseg.images.embedded_note import Note, caret_note_from, note_from
from medseg.images.geometry import Geometry

LONGEST = 540  # bytes of a NIfTI-2 header; NIfTI-1 has 348
_CONFLICT_MM = 1.0  # a qform is a quaternion in float32: it follows the sform of a real scan to 0.001 mm
_DIFFERENCE_MM = 0.01
_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}  # xyzt_units; 2 is mm, 0 is unknown and so mm
_SECONDS_TO_MICROSECONDS = (8, 16, 24)
_DAMAGED = (nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError, ValueError, KeyError)


@dataclass(frozen=True, eq=False)
class Header:
    """What a NIfTI header says.

    Attributes:
        shape: of the voxels on file, three axes or more; the first runs fastest.
        dtype: of one voxel on file, byte order included.
        offset: bytes before the voxels.
        slope: with `inter`, what stored values are scaled by: `stored * slope + inter`.
        channels: 0 for one number per voxel.
        geometry: the grid, sform before qform.
        spatial_dims: 2 where the file has two axes, else 3.
        warnings: odd, and read all the same.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    channels: int
    geometry: Geometry
    spatial_dims: int
    warnings: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels on file."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse(block: bytes, path: Path) -> Header:
    """Check a header, as it stands at the start of its file.

    Raises:
        ImageError: for a damaged header, voxels that are no plain numbers or colours, axes that are neither
            of space nor channels, and a place in the world that is missing, damaged or told in two ways.
    """
    fields = _fields(block, path)
    count, shape = _shape(fields, path)
    dtype = _dtype(fields, path)
    channels, warnings = _channels(fields, shape, dtype, path)
    slope, inter = _scaling(fields, dtype, path)
    geometry, more = _geometry(fields, shape[:3], path)
    return Header(
        shape=shape,
        dtype=dtype,
        offset=_offset(fields, block, path),
        slope=slope,
        inter=inter,
        channels=channels,
        geometry=geometry,
        spatial_dims=2 if count == 2 else 3,
        warnings=(*warnings, *more),
    )


def find_note(start: bytes, header_size: int) -> tuple[Note | None, bool]:
    """The class names among a header's extensions, ours or a label table, and whether these are undamaged.

    Args:
        start: the file up to its voxels.
        header_size: 348 or 540.
    """
    note = None
    try:
        for content in _extensions(start, header_size):
            text = content.rstrip(b"\0").decode("utf-8", "replace")
            note = note_from(text) or caret_note_from(text) or note
    except (struct.error, ValueError):  # also a colour such as 1.2.3
        return note, False
    return note, True


def _extensions(start: bytes, header_size: int) -> Iterator[bytes]:
    order = byte_order(start) or "<"
    if len(start) < header_size + 4 or start[header_size] == 0:
        return
    position = header_size + 4
    while position < len(start):
        size, _ = struct.unpack_from(order + "ii", start, position)
        if size < 8 or position + size > len(start):
            raise ValueError("runs past the voxels")
        yield start[position + 8 : position + size]
        position += size


def byte_order(start: bytes) -> str | None:
    """ "<" or ">", by the length of itself that a header starts with."""
    for order in "<>":
        if len(start) >= 4 and struct.unpack_from(order + "i", start)[0] in (348, 540):
            return order
    return None


def _fields(block: bytes, path: Path) -> Any:
    second = block[4:7] in (b"n+2", b"ni2")
    kind: Any = nib.Nifti2Header if second else nib.Nifti1Header
    size = 540 if second else 348
    order = byte_order(block)
    if order is None or len(block) < size:
        raise ImageError(f"{path}: its NIfTI header is cut short or damaged; fetch or convert it again")
    return kind(block[:size], endianness=order, check=False)


def _shape(fields: Any, path: Path) -> tuple[int, tuple[int, ...]]:
    count = int(fields["dim"][0])
    if not 1 <= count <= 7:
        raise ImageError(f"{path}: damaged header: it says {count} axes, NIfTI has 1 to 7; fetch or convert it again")
    lengths = [int(length) for length in fields["dim"][1 : count + 1]]
    if min(lengths) < 1:
        raise ImageError(f"{path}: damaged header: its axes have lengths {tuple(lengths)}; fetch or convert it again")
    if count == 1:
        raise ImageError(f"{path}: has 1 axis of length {lengths[0]}; expected a volume of 2 or 3")
    lengths += [1] * (3 - count)
    while len(lengths) > 3 and lengths[-1] == 1:
        lengths.pop()
    return count, tuple(lengths)


def _dtype(fields: Any, path: Path) -> np.dtype[Any]:
    code, bits = int(fields["datatype"]), int(fields["bitpix"])
    types: Any = nib.nifti1.data_type_codes.dtype
    try:
        dtype = np.dtype(types[code])
    except KeyError:
        raise ImageError(
            f"{path}: damaged header: NIfTI knows no data type {code}; fetch or convert it again"
        ) from None
    if dtype.kind == "c":
        raise ImageError(f"{path}: holds complex numbers; write magnitude and phase as two files")
    if dtype.kind not in "iuf" and dtype.names is None:
        raise ImageError(f"{path}: holds voxels of data type {code} ({dtype}); convert it to one number per voxel")
    if bits not in (0, dtype.itemsize * 8):
        raise ImageError(
            f"{path}: damaged header: {bits} bits per voxel of a type ({dtype}) that has {dtype.itemsize * 8}; "
            "fetch or convert it again"
        )
    stored: np.dtype[Any] = dtype.newbyteorder(fields.endianness)
    return stored


def _channels(fields: Any, shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> tuple[int, tuple[str, ...]]:
    if dtype.names is not None:
        if len(shape) > 3:
            raise ImageError(f"{path}: colour voxels with {len(shape)} axes {shape}; expected 3: split it first")
        return len(dtype.names), ()
    if len(shape) == 3:
        return 0, ()
    if len(shape) == 4:
        is_time = int(fields["xyzt_units"]) & 56 in _SECONDS_TO_MICROSECONDS and fields["pixdim"][4] > 0
        return shape[3], ((f"{shape[3]} time points taken as channels",) if is_time else ())
    if len(shape) == 5 and shape[3] == 1:
        return shape[4], ()
    raise ImageError(f"{path}: has {len(shape)} axes {shape}; expected 3, or 4 with channels last: split it first")


def _scaling(fields: Any, dtype: np.dtype[Any], path: Path) -> tuple[float, float]:
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or math.isnan(slope) or dtype.names is not None:
        return 1.0, 0.0
    if not math.isfinite(slope) or not math.isfinite(inter):
        raise ImageError(f"{path}: values are to be scaled by {slope} and {inter}; mend scl_slope and scl_inter")
    return slope, inter


def _offset(fields: Any, block: bytes, path: Path) -> int:
    offset = float(fields["vox_offset"])
    second = block[4:7] in (b"n+2", b"ni2")
    single = b"n+" in (block[4:6] if second else block[344:346])
    least = (544 if second else 352) if single else 0
    if offset == 0:
        return least
    if not math.isfinite(offset) or offset < least or offset != int(offset):
        raise ImageError(f"{path}: damaged header: voxels from byte {offset:g} on; fetch or convert it again")
    return int(offset)


def _geometry(fields: Any, shape: tuple[int, ...], path: Path) -> tuple[Geometry, tuple[str, ...]]:
    places, scale, warnings = [], 1.0, []
    unit = int(fields["xyzt_units"]) & 7
    if unit in _UNITS:
        name, scale = _UNITS[unit]
        warnings.append(f"lengths are in {name} and were converted to mm")
    try:
        with np.errstate(all="ignore"):  # of damaged numbers, which Geometry refuses
            for affine in _coded_affines(fields):
                places.append(Geometry((shape[0], shape[1], shape[2]), np.diag([scale, scale, scale, 1]) @ affine))
    except _DAMAGED as error:
        raise ImageError(
            f"{path}: its place in the world is damaged ({reason(error)}); mend its sform and qform"
        ) from error
    if not places:
        raise ImageError(f"{path}: neither sform nor qform says where it lies (both codes are 0); set one of them")
    if len(places) == 2 and not places[0].agrees_with(places[1], tolerance_mm=_DIFFERENCE_MM):
        difference = places[0].difference(places[1])
        if not places[0].agrees_with(places[1], tolerance_mm=_CONFLICT_MM):
            raise ImageError(
                f"{path}: sform and qform place it differently: {difference}; delete the wrong one (set its code to 0)"
            )
        warnings.append(f"sform and qform differ: {difference}; the sform is used")
    return places[0], tuple(warnings)


def _coded_affines(fields: Any) -> Iterator[NDArray[np.float64]]:
    fields = fields.copy()
    fields["pixdim"][0] = -1 if fields["pixdim"][0] < 0 else 1  # NIfTI: 0 means 1
    if fields["dim"][0] == 2 and fields["pixdim"][3] == 0:
        fields["pixdim"][3] = 1
    for affine, code in (fields.get_sform(coded=True), fields.get_qform(coded=True)):
        if code > 0:
            yield affine
