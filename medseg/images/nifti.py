"""NIfTI-1 and NIfTI-2, single files and pairs of .hdr and .img.

The header is nibabel's to interpret. The voxels are read here: what a header promises is held against the size
of the file before memory is taken, and a file that ends early is refused (ITK loads it without a word).
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError, reason
from medseg.images.embedded_note import Note
from medseg.images.geometry import Geometry
from medseg.images.image import Image
from medseg.images.nifti_header import LONGEST, Header, find_note, parse
from medseg.images.values import count_rounded, float32

_SINGLE, _PAIR, _ANALYZE = "single", "pair", "ANALYZE 7.5"
_MAGIC_1 = {b"n+1\0": _SINGLE, b"ni1\0": _PAIR}
_MAGIC_2 = {b"n+2\0": _SINGLE, b"ni2\0": _PAIR}
_MOST_DEFLATED = 1032  # the best that deflate can do: bytes out of one byte
_CHUNK = 1 << 20
_UNREADABLE = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class _Files:
    header: Path
    voxels: Path
    start: bytes  # of the header's file: LONGEST bytes
    kind: str


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI-1 or -2, gzipped or not, header or voxels of a pair; also for ANALYZE 7.5.

    Voxels of a pair have no mark of their own: they are known by the header beside them.
    """
    return _kind(path) is not None or _header_of_voxels(path) is not None


def read_nifti(path: Path) -> Image:
    """Read a NIfTI file; its world is RAS+ mm as ours.

    Integers keep their type where the scaling has no fraction; all else, with `scl_slope` and `scl_inter`
    applied, is float32. The last of four axes, or of five where the fourth has length 1, is the channel; so are
    RGB and RGBA (uint8). Class names come from the extension that `write_nifti` writes.

    Raises:
        ImageError: if the file is truncated, damaged, complex or of other axes; holds NaN or infinity; says
            nothing of its place in the world, or two things that are over 1 mm apart.
    """
    files = _files(path)
    header = parse(files.start, path)
    raw, note, warnings = _read(files, header, path)
    array = _scaled(raw, header, path)
    return Image(
        array=array,
        geometry=header.geometry,
        path=path,
        format="NIfTI",
        files=(files.header,) if files.kind == _SINGLE else (files.header, files.voxels),
        spatial_dims=header.spatial_dims,
        classes=note.classes if note else (),
        rounded=count_rounded(raw, array) if (header.slope, header.inter) == (1, 0) else 0,
        warnings=(*header.warnings, *warnings),
    )


def read_nifti_geometry(path: Path) -> Geometry:
    """The grid of a NIfTI file, from its header alone.

    Raises:
        ImageError: as `read_nifti`, for what the header tells.
    """
    return parse(_files(path).start, path).geometry


def count_nifti_channels(path: Path) -> int:
    """The channels of a NIfTI file, from its header."""
    header = parse(_files(path).start, path)
    return header.channels or len(header.dtype.names or ("one",))


def _files(path: Path) -> _Files:
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: an empty file of 0 bytes; fetch or convert it again")
    header = path if _kind(path) else _header_of_voxels(path)
    if header is None:
        raise ImageError(f"{path}: not a NIfTI file, or cut short before the end of its header")
    kind = _kind(header)
    if kind == _ANALYZE:
        raise ImageError(
            f"{path}: ANALYZE 7.5, which does not tell left from right; convert it to NIfTI with the program it is from"
        )
    voxels = header
    if kind == _PAIR:
        found = path if path != header else _beside(header, ".hdr", ".img")
        if found is None:
            raise ImageError(f"{path}: the header of a pair, and no .img file of that name beside it; fetch that too")
        voxels = found
    try:
        start = _start(header, LONGEST)
    except _UNREADABLE as error:
        raise ImageError(f"{path}: truncated or damaged ({reason(error)}); fetch or convert it again") from error
    return _Files(header, voxels, start, kind or _SINGLE)


def _kind(path: Path) -> str | None:
    try:
        start = _start(path, 349)
    except _UNREADABLE:
        return None
    kind = _MAGIC_1.get(start[344:348]) or _MAGIC_2.get(start[4:8])
    if kind is None and len(start) == 348 and start[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c"):
        return _ANALYZE
    return kind


def _header_of_voxels(path: Path) -> Path | None:
    header = _beside(path, ".img", ".hdr")
    return header if header is not None and _kind(header) in (_PAIR, _ANALYZE) else None


def _beside(path: Path, suffix: str, other: str) -> Path | None:
    """The file of the same name with another suffix, gzipped or not, if there is one."""
    name = path.name[:-3] if path.name.endswith(".gz") else path.name
    if not name.endswith(suffix):
        return None
    stem = name[: -len(suffix)]
    found = [path.with_name(stem + end) for end in (other, other + ".gz")]
    return next((each for each in found if each.is_file()), None)


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if _is_gzipped(path) else path.open("rb")


def _start(path: Path, size: int) -> bytes:
    with _opened(path) as stream:
        start: bytes = stream.read(size)
    return start


def _read(files: _Files, header: Header, path: Path) -> tuple[NDArray[Any], Note | None, tuple[str, ...]]:
    """The voxels on file, the note in the header's extensions, and warnings."""
    size = files.voxels.stat().st_size
    is_gzipped = _is_gzipped(files.voxels)
    most = size * _MOST_DEFLATED if is_gzipped else size
    if most < header.offset + header.nbytes:
        raise ImageError(
            f"{path}: truncated: its header tells of {header.nbytes} bytes of voxels ({_product(header.shape)}), "
            f"the file has {size}; fetch or convert it again"
        )
    header_size = 540 if files.start[4:7] in (b"n+2", b"ni2") else 348
    try:
        content = _inflated(files.voxels, header.offset + header.nbytes) if is_gzipped else None
        if content is not None:
            start, voxels, after = content[: header.offset].tobytes(), content[header.offset :], 0
        else:
            with _opened(files.voxels) as stream:
                start = _exactly(stream, header.offset, path).tobytes()
                voxels = _exactly(stream, header.nbytes, path)
                after = _rest(stream)
        if files.kind == _PAIR:
            start = _start(files.header, _CHUNK)
    except _UNREADABLE as error:
        raise ImageError(f"{path}: truncated or damaged ({reason(error)}); fetch or convert it again") from error
    note, sound = find_note(start, header_size)
    warnings = [] if sound else ["the header's extensions are damaged and were ignored"]
    if after:
        warnings.append(f"{after} bytes follow the voxels and were ignored")
    aligned = np.require(voxels.view(header.dtype), requirements="A")  # a header may end anywhere
    return aligned.reshape(header.shape, order="F"), note, tuple(warnings)


def _inflated(path: Path, size: int) -> NDArray[np.uint8] | None:
    """A gzipped file in half of zlib's time; None where it is not one stream of that size, whole and sound."""
    deflated = path.read_bytes()
    if int.from_bytes(deflated[-4:], "little") != size % 2**32:
        return None
    import imagecodecs

    content = np.empty(size, np.uint8)
    try:
        whole = len(imagecodecs.gzip_decode(deflated, out=content.data)) == size
    except (imagecodecs.GzipError, ValueError):
        return None
    return content if whole else None


def _exactly(stream: IO[bytes], size: int, path: Path) -> NDArray[np.uint8]:
    content = np.empty(size, np.uint8)
    position = 0
    while position < size:
        chunk = stream.read(min(_CHUNK, size - position))
        if not chunk:
            raise ImageError(
                f"{path}: truncated or damaged (it ends {size - position} bytes early); fetch or convert it again"
            )
        content[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
        position += len(chunk)
    return content


def _rest(stream: IO[bytes]) -> int:
    """Bytes up to the end; reading there checks gzip's sum over all that came before."""
    count = 0
    while chunk := stream.read(_CHUNK):
        count += len(chunk)
    return count


def _scaled(raw: NDArray[Any], header: Header, path: Path) -> NDArray[Any]:
    native = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    if native.dtype.names is not None:
        return np.stack([native[name] for name in native.dtype.names], axis=-1)
    slope, inter = header.slope, header.inter
    shape = (*header.geometry.shape, header.channels) if header.channels else header.geometry.shape
    native = native.reshape(shape, order="F")
    if native.dtype.kind in "iu" and (slope, inter) == (1, 0):
        return native
    if native.dtype.kind in "iu" and slope == int(slope) and inter == int(inter):
        whole = _scaled_integers(native, int(slope), int(inter))
        if whole is not None:
            return whole
    if (slope, inter) == (1, 0):
        return float32(native)
    with np.errstate(over="ignore", invalid="ignore"):
        return float32(native.astype(np.float32, copy=False) * np.float32(slope) + np.float32(inter))


def _scaled_integers(native: NDArray[Any], slope: int, inter: int) -> NDArray[Any] | None:
    """Scaled, in the smallest type of 16 bits or more that holds every value; None where none does."""
    raw = [int(native.min()), int(native.max())]
    steps = [value * slope for value in raw]
    ends = [value + inter for value in steps]
    wide = _type_for([*raw, *steps, *ends, slope, inter], (np.int32, np.int64))
    if wide is None:
        return None
    scaled = native.astype(wide)
    scaled *= slope
    scaled += inter
    narrow: NDArray[Any] = scaled.astype(_type_for(ends, (np.int16, np.uint16, wide)), copy=False)
    return narrow


def _type_for(values: list[int], types: tuple[Any, ...]) -> Any:
    """The first type that holds all the values."""
    return next((t for t in types if np.iinfo(t).min <= min(values) and max(values) <= np.iinfo(t).max), None)


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)
