"""One DICOM series as a volume: sorted by position, checked to be a regular grid, in RAS+ mm.

DICOM's patient coordinates are LPS+ mm (PS3.3 C.7.6.2.1.1), its pixel arrays (row, column); here voxels
are (i = column, j = row, k = slice) and the world is RAS+.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError

from medseg.errors import ImageError
from medseg.images.geometry import Geometry

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SPACING_TOLERANCE = 0.01  # of the slice distance; positions are written with few decimals
_TILT_DEGREES = 0.2
_SAME_DIRECTION = 1e-3


@dataclass(frozen=True)
class Series:
    """The slices of one series, sorted along their normal, and the grid they make."""

    slices: tuple[pydicom.Dataset, ...]
    files: tuple[Path, ...]
    geometry: Geometry

    @property
    def modality(self) -> str | None:
        """Such as CT or MR."""
        return str(self.slices[0].get("Modality") or "") or None


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM file does: 128 bytes, then `DICM` (PS3.10 section 7.1)."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_files(path: Path) -> list[Path]:
    """The DICOM files of a folder (not of its subfolders), or the file itself, sorted by name."""
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    return [each for each in candidates if each.is_file() and not each.name.startswith(".") and is_dicom(each)]


def read_series(path: Path) -> Series:
    """Find the one series at `path` (a folder, or one file) and check that it is a regular volume.

    Raises:
        ImageError: naming what is there instead: nothing, several series, a missing or repeated slice,
            mixed orientations or sizes, gantry tilt, multi-frame or colour images, no spacing.
    """
    found = [(file, header) for file, header in _headers(dicom_files(path)) if "Rows" in header]
    if not found:
        raise ImageError(f"{path}: holds no DICOM images")
    _check_one_series(path, [header for _, header in found])
    _check_slices(path, [header for _, header in found])
    normal = _normal(found[0][1])
    found.sort(key=lambda each: float(normal @ _position(each[1])))
    files, slices = zip(*found, strict=True)
    return Series(slices, files, _geometry(path, slices))


def read_voxels(series: Series) -> NDArray[Any]:
    """The voxels `(i, j, k)` after each slice's rescale: HU for CT, stored values where there is none.

    int16 or uint16 where every value is a whole number that fits, else float32.

    Raises:
        ImageError: if a file is truncated or its compression cannot be decoded here.
    """
    planes = [_pixels(file) for file in series.files]
    volume = np.stack([plane.T for plane in planes], axis=2)
    if volume.dtype.kind == "f" and (volume == np.rint(volume)).all():
        for kind in (np.int16, np.uint16):
            if volume.min() >= np.iinfo(kind).min and volume.max() <= np.iinfo(kind).max:
                return volume.astype(kind)
    return volume if volume.dtype.kind in "iu" else volume.astype(np.float32)


def _headers(files: Iterable[Path]) -> Iterable[tuple[Path, pydicom.Dataset]]:
    for file in files:
        try:
            yield file, pydicom.dcmread(file, stop_before_pixels=True)
        except (InvalidDicomError, EOFError, OSError, ValueError) as error:
            raise ImageError(f"{file}: a damaged DICOM file ({error}); fetch it again") from error


def _check_one_series(path: Path, headers: Sequence[pydicom.Dataset]) -> None:
    series: dict[str, list[pydicom.Dataset]] = {}
    for header in headers:
        series.setdefault(str(header.get("SeriesInstanceUID")), []).append(header)
    if len(series) > 1:
        kinds = "; ".join(
            f"{each[0].get('Modality', '?')} of {len(each)} images {each[0].Columns} x {each[0].Rows}, series {uid}"
            for uid, each in series.items()
        )
        raise ImageError(f"{path}: holds {len(series)} series ({kinds}); put each into a folder of its own")


def _check_slices(path: Path, headers: Sequence[pydicom.Dataset]) -> None:
    first = headers[0]
    if any(int(header.get("NumberOfFrames", 1)) > 1 for header in headers):
        raise ImageError(f"{path}: a multi-frame DICOM image, which is not read yet; convert it to NIfTI")
    if any(int(header.get("SamplesPerPixel", 1)) > 1 for header in headers):
        raise ImageError(f"{path}: colour DICOM images are no scan")
    for header in headers:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            if not header.get(keyword):
                raise ImageError(f"{path}: a slice has no {keyword}, so its place is not known; export it again")
    sizes = {(int(header.Columns), int(header.Rows)) for header in headers}
    if len(sizes) > 1:
        raise ImageError(f"{path}: slices of different size {sorted(sizes)}; put each size into a folder of its own")
    for header in headers:
        if not np.allclose(_directions(header), _directions(first), atol=_SAME_DIRECTION):
            raise ImageError(f"{path}: slices of different orientation; put each into a folder of its own")
        if not np.allclose(header.PixelSpacing, first.PixelSpacing, rtol=1e-4):
            raise ImageError(f"{path}: slices of different PixelSpacing; put each into a folder of its own")


def _geometry(path: Path, slices: Sequence[pydicom.Dataset]) -> Geometry:
    """The grid of slices that are sorted along their normal."""
    first = slices[0]
    across, down = _directions(first)
    between_rows, between_columns = map(float, first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = across * between_columns
    affine[:3, 1] = down * between_rows
    affine[:3, 2] = _step(path, slices)
    affine[:3, 3] = _position(first)
    return Geometry((int(first.Columns), int(first.Rows), len(slices)), _LPS_TO_RAS @ affine)


def _step(path: Path, slices: Sequence[pydicom.Dataset]) -> NDArray[np.float64]:
    """The way from slice to slice in LPS+ mm."""
    normal = _normal(slices[0])
    if len(slices) == 1:
        thickness = float(slices[0].get("SpacingBetweenSlices") or slices[0].get("SliceThickness") or 0)
        if thickness <= 0:
            raise ImageError(f"{path}: a single slice without thickness; its volume is not known")
        return normal * thickness
    positions = np.array([_position(header) for header in slices])
    gaps = np.diff(positions @ normal)
    typical = float(np.median(gaps))
    tolerance = max(_SPACING_TOLERANCE * typical, 1e-3)
    if gaps.min() < tolerance:
        raise ImageError(
            f"{path}: {int((gaps < tolerance).sum())} slice positions occur more than once (several time points or "
            "echoes, or copies); put one volume into a folder of its own"
        )
    if gaps.max() - gaps.min() > 2 * tolerance:
        where = int(np.argmax(gaps))
        raise ImageError(
            f"{path}: uneven slice distances from {gaps.min():.3f} to {gaps.max():.3f} mm (the widest after slice "
            f"{where + 1} of {len(slices)}): a slice is missing; export the series again"
        )
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(slices) - 1)
    tilt = np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1)))
    if tilt > _TILT_DEGREES:
        raise ImageError(
            f"{path}: gantry tilt, slices are stacked {tilt:.1f} degrees off their normal; resample it to a "
            "right-angled grid first"
        )
    return step


def _pixels(file: Path) -> NDArray[Any]:
    """One slice (row, column) after its rescale."""
    try:
        dataset = pydicom.dcmread(file)
        stored = dataset.pixel_array
    except (RuntimeError, NotImplementedError, ModuleNotFoundError) as error:
        return _decoded_by_gdcm(file, error)
    except (AttributeError, ValueError, EOFError, OSError) as error:
        raise ImageError(f"{file}: its pixels are truncated or damaged; fetch it again") from error
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    if (slope, intercept) == (1.0, 0.0):
        return stored
    return stored.astype(np.float64) * slope + intercept


def _decoded_by_gdcm(file: Path, reason: Exception) -> NDArray[Any]:
    """One slice that pydicom has no decoder for (JPEG lossless, JPEG-LS), rescaled, by SimpleITK's GDCM."""
    import SimpleITK as sitk  # not where it can be spared: 50 MB

    header = pydicom.dcmread(file, stop_before_pixels=True)
    try:
        if header.get("PhotometricInterpretation") != "MONOCHROME2":  # GDCM inverts MONOCHROME1
            raise RuntimeError("no decoder keeps its values")
        plane: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0]
    except RuntimeError:
        name = getattr(header.file_meta.get("TransferSyntaxUID"), "name", "unknown")
        raise ImageError(f"{file}: its compression ({name}) cannot be decoded here; see `medseg doctor`") from reason
    return plane


def _directions(header: pydicom.Dataset) -> NDArray[np.float64]:
    """Unit vectors (LPS+) along a row (to the next column) and along a column, shape (2, 3)."""
    return np.array(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)


def _position(header: pydicom.Dataset) -> NDArray[np.float64]:
    return np.array(header.ImagePositionPatient, dtype=np.float64)


def _normal(header: pydicom.Dataset) -> NDArray[np.float64]:
    normal = np.cross(*_directions(header))
    unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
    return unit
