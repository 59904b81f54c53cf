"""NIfTI files, read by nibabel and by nothing else: other readers load truncated ones without a word."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError
from medseg.images.geometry import Geometry

_AGREEMENT_MM = 1.0  # sform is float32 and qform a quaternion: equal ones differ by less on any scan
_READ_ERRORS = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    gzip.BadGzipFile,
)


def is_nifti(path: Path) -> bool:
    """Whether the content of a file is NIfTI-1 or NIfTI-2, gzipped or not, whatever its name."""
    try:
        with gzip.open(path, "rb") if _is_gzipped(path) else path.open("rb") as stream:
            header = stream.read(348)
    except (OSError, EOFError, zlib.error):
        return False
    return header[344:348] in (b"n+1\0", b"ni1\0") or header[4:8] in (b"n+2\0", b"ni2\0")


def read_nifti(path: Path) -> tuple[NDArray[Any], Geometry]:
    """Voxels `(i, j, k)` and grid (RAS+ mm, the world of NIfTI) of a 3D file.

    Integers without scaling keep their type; all else, with `scl_slope` and `scl_inter` applied, is
    float32. A fourth axis of length 1 is dropped.

    Raises:
        ImageError: if the file is truncated, damaged or not 3D, holds NaN or infinity, says nothing of
            its place in the world, or says two different things.
    """
    image = _open(path)
    geometry = _geometry(image, path)
    try:
        raw = np.asanyarray(image.dataobj)
    except _READ_ERRORS as error:
        raise ImageError(f"{path}: truncated or damaged ({_reason(error)}); fetch or convert it again") from error
    if raw.dtype.kind not in "iuf":
        raise ImageError(f"{path}: holds {raw.dtype} voxels (colour or complex); expected one number per voxel")
    array = raw.reshape(geometry.shape)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            raise ImageError(f"{path}: {bad} voxels are NaN or infinite; replace them, for example by 0")
        array = array.astype(np.float32, copy=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False), geometry


def read_nifti_geometry(path: Path) -> Geometry:
    """The grid of a NIfTI file, from its header alone.

    Raises:
        ImageError: as `read_nifti`, for what the header tells.
    """
    return _geometry(_open(path), path)


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _open(path: Path) -> Any:
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: an empty file of 0 bytes; fetch or convert it again")
    # nibabel decides by suffix; the content decides here.
    gzipped = _is_gzipped(path)
    try:
        if gzipped == path.name.endswith(".gz") and path.name.endswith((".nii", ".nii.gz")):
            return nib.load(path)
        content = gzip.decompress(path.read_bytes()) if gzipped else path.read_bytes()
        kind = nib.Nifti2Image if content[4:7] in (b"n+2", b"ni2") else nib.Nifti1Image
        return kind.from_bytes(content)
    except _READ_ERRORS as error:
        raise ImageError(f"{path}: not a readable NIfTI file ({_reason(error)})") from error


def _geometry(image: Any, path: Path) -> Geometry:
    shape = image.shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3:
        raise ImageError(f"{path}: has {len(shape)} axes {shape}; expected a 3D volume: split it first")
    header = image.header
    try:
        sform, qform = header.get_sform(coded=True), header.get_qform(coded=True)
    except _READ_ERRORS as error:
        raise ImageError(f"{path}: its place in the world is damaged ({_reason(error)}); mend its qform") from error
    try:
        places = [Geometry(shape, affine) for affine, code in (sform, qform) if code > 0]
    except ValueError as error:
        raise ImageError(f"{path}: {error}; mend its sform and qform") from error
    if not places:
        raise ImageError(f"{path}: neither sform nor qform says where it lies (both codes are 0); set one of them")
    if len(places) == 2 and not places[0].agrees_with(places[1], tolerance_mm=_AGREEMENT_MM):
        raise ImageError(
            f"{path}: sform and qform place it differently: {places[0].difference(places[1])}; "
            "delete the wrong one (set its code to 0)"
        )
    return places[0]


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__
