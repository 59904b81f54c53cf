"""The stored pixels of one plane, exactly: no decoder may change a value unseen.

Uncompressed pixels are read straight from the file; every other encoding by pydicom with one chosen decoder
each, and what comes out is held against the header: a value that the header's bits cannot hold is an error.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.uid import UID

from medseg.errors import ImageError
from medseg.images.dicom.codecs import NATIVE, decoder_for
from medseg.images.dicom.frames import Frame
from medseg.images.dicom.headers import Header

_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")
_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED = 0xFFFFFFFF


def is_native_grey(header: Header) -> bool:
    """Whether the pixels are whole numbers of 8, 16 or 32 bits that stand in the file as they are."""
    return (
        header.transfer_syntax in NATIVE
        and header.samples == 1
        and header.photometric in ("MONOCHROME1", "MONOCHROME2")
        and header.bits_allocated in (8, 16, 32)
        and not (header.bits_allocated == 8 and not header.little_endian)  # may be written as swapped words
        and not header.values.has("ModalityLUTSequence")
    )


def stored_type(header: Header) -> np.dtype[Any]:
    """The numpy type of stored pixels, in this machine's byte order."""
    return np.dtype(f"{'i' if header.signed else 'u'}{max(1, header.bits_allocated // 8)}")


def read_native(frame: Frame, out: NDArray[Any]) -> None:
    """Fill `out`, contiguous `(row, column)` of the stored type's size, with the stored values of a native plane.

    Raises:
        ImageError: if the file is too short, or holds more or less than its header tells.
    """
    header = frame.header
    view = out.view(np.uint8).reshape(-1).data
    try:
        start = _native_start(header)
        with header.file.open("rb", buffering=0) as stream:
            stream.seek(start + frame.index * len(view))
            filled = 0
            while filled < len(view):
                count = stream.readinto(view[filled:])
                if not count:
                    raise _truncated(header)
                filled += count
    except OSError as error:
        raise ImageError(f"{header.file}: cannot be read ({error.strerror})") from error
    stored = out.view(stored_type(header))
    if not header.little_endian:
        stored.byteswap(inplace=True)
    mask_unused_bits(header, stored)


def mask_unused_bits(header: Header, stored: NDArray[Any]) -> bool:
    """Take what stands above HighBit or below the lowest bit out of native pixels, in place; True if there was any.

    PS3.5 section 8.1.1: bits that are not stored mean nothing (old scanners kept overlays there).
    """
    below = header.high_bit + 1 - header.bits_stored
    spare = header.bits_allocated - header.bits_stored
    if spare == 0:
        return False
    if below == 0:
        low, high = _range(header)
        if low <= int(stored.min()) and int(stored.max()) <= high:
            return False
    np.left_shift(stored, spare - below, out=stored)
    np.right_shift(stored, spare, out=stored)  # of signed numbers it copies the sign
    return True


def open_dataset(header: Header) -> pydicom.Dataset:
    """The whole file, for `decode`.

    Raises:
        ImageError: if it is damaged.
    """
    try:
        dataset = pydicom.dcmread(header.file, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = UID(header.transfer_syntax)
    except Exception as error:
        raise _truncated(header) from error
    return dataset


def decode(frame: Frame, dataset: pydicom.Dataset) -> NDArray[Any]:
    """The plane `(row, column)` of any encoding, or `(row, column, 3)` RGB of colour; modality LUT applied.

    Raises:
        ImageError: if it is damaged, cannot be decoded here, or decodes to what its header does not allow.
    """
    header = frame.header
    try:
        decoder, plugin = decoder_for(header.transfer_syntax)
    except LookupError as error:
        raise ImageError(f"{header.file}: {error.args[0]}") from error
    try:
        if plugin == "pylibjpeg":
            _check_boxes(get_frame(dataset.PixelData, frame.index, number_of_frames=header.frames))
        plane, told = decoder.as_array(dataset, index=frame.index, raw=header.samples == 1, decoding_plugin=plugin)
        if header.photometric == "PALETTE COLOR":
            return _smallest(np.asarray(apply_color_lut(plane, dataset)))
        if header.samples > 1 and told["photometric_interpretation"] != "RGB":
            raise ImageError(f"{header.file}: its colours ({header.photometric}) cannot be read; convert it to RGB")
        if "ModalityLUTSequence" in dataset:
            return np.asarray(apply_modality_lut(plane, dataset))
    except ImageError:
        raise
    except Exception as error:  # every decoder raises errors of its own
        raise _truncated(header) from error
    return plane if header.samples > 1 else _as_told(header, plane)


def stored(frame: Frame) -> NDArray[Any]:
    """The stored plane of any encoding."""
    if not is_native_grey(frame.header):
        return decode(frame, open_dataset(frame.header))
    plane = np.empty((frame.header.rows, frame.header.columns), stored_type(frame.header))
    read_native(frame, plane)
    return plane


def same_pixels(one: Frame, other: Frame) -> bool:
    """Whether two planes hold the same values."""
    first, second = one.header, other.header
    if (one.slope, one.intercept, first.rows, first.columns) != (
        other.slope,
        other.intercept,
        second.rows,
        second.columns,
    ):
        return False
    return np.array_equal(stored(one), stored(other))


def _native_start(header: Header) -> int:
    """The byte at which a native file's pixels begin; checks that as many are there as the header tells."""
    start, length, present = _pixel_element(header)
    expected = header.rows * header.columns * header.frames * header.bits_allocated // 8
    if present < min(expected, length):
        raise _truncated(header)
    row = header.columns * header.bits_allocated // 8
    if not expected <= length < expected + max(row, 2):
        raise ImageError(
            f"{header.file}: holds {length} bytes of pixels where Rows, Columns and BitsAllocated make {expected}; "
            "export it again"
        )
    return start


def _pixel_element(header: Header) -> tuple[int, int, int]:
    """Where its value begins, the length it tells, and the bytes that are there."""
    order = "<" if header.little_endian else ">"
    with header.file.open("rb") as stream:
        stream.seek(header.pixels_at or 0)
        head = stream.read(12)
        size = os.fstat(stream.fileno()).st_size
    if len(head) < 12:
        raise _truncated(header)
    tag = struct.unpack(f"{order}HH", head[:4])
    if tag != _PIXEL_DATA:
        raise ImageError(f"{header.file}: its pixels are floating-point numbers, which are not read; convert it")
    if header.implicit:
        length, extra = struct.unpack(f"{order}L", head[4:8])[0], 8
    elif head[4:6] in _LONG_VRS:
        length, extra = struct.unpack(f"{order}L", head[8:12])[0], 12
    else:
        length, extra = struct.unpack(f"{order}H", head[6:8])[0], 8
    if length == _UNDEFINED:
        raise ImageError(f"{header.file}: its pixels are compressed and it says they are not; export it again")
    start = (header.pixels_at or 0) + extra
    return start, length, size - start


def _truncated(header: Header) -> ImageError:
    return ImageError(f"{header.file}: its pixels are truncated or damaged; fetch it again")


def _range(header: Header) -> tuple[int, int]:
    bits = header.bits_stored
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if header.signed else (0, (1 << bits) - 1)


def _as_told(header: Header, plane: NDArray[Any]) -> NDArray[Any]:
    """Decoded values in the stored type, or an error where the header's bits cannot hold them.

    JPEG knows no signs: a negative number comes out with zeros above its stored bits.
    """
    low, high = _range(header)
    if plane.dtype.kind not in "iu":
        raise ImageError(f"{header.file}: its pixels are no whole numbers, which is not read; convert it")
    if header.signed and header.bits_stored < 8 * plane.dtype.itemsize:
        span = 1 << header.bits_stored
        if int(plane.min()) >= 0 and high < int(plane.max()) < span:
            plane = np.where(plane > high, plane.astype(np.int64) - span, plane)
    if int(plane.min()) < low or int(plane.max()) > high:
        raise ImageError(
            f"{header.file}: decodes to values from {plane.min()} to {plane.max()}, which its {header.bits_stored} "
            "stored bits cannot hold; export it again without compression"
        )
    return plane.astype(stored_type(header), copy=False)


def _check_boxes(source: bytes) -> None:
    """JPEG 2000 in a JP2 file: pydicom looks for its code stream for ever if a box has no length."""
    at = 12
    while source.startswith(b"\0\0\0\x0cjP  ") and at < len(source) and source[at + 4 : at + 8] != b"jp2c":
        length = int.from_bytes(source[at : at + 4], "big")
        if length < 8:
            raise ValueError("a box without length")
        at += length


def _smallest(colours: NDArray[Any]) -> NDArray[Any]:
    """Palettes of 16 bits often hold 8, in the upper byte (PS3.3 C.7.6.3.1.5)."""
    if colours.dtype == np.uint16 and not (colours & 0xFF).any():
        return (colours >> 8).astype(np.uint8)
    return colours
