"""Planes stacked to a volume: sorted along their normal, checked to be a regular grid, in RAS+ mm.

DICOM's patient coordinates are LPS+ mm (PS3.3 C.7.6.2.1.1), its pixel arrays (row, column); here voxels
are (i = column, j = row, k = slice), k runs along the normal (row direction x column direction) and the
world is RAS+.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError
from medseg.images.dicom.frames import Frame
from medseg.images.geometry import LPS_TO_RAS, Geometry

_SAME_PLACE_MM, _SAME_PLACE = 0.01, 0.05  # the smaller of the two: mm, part of a pixel
_UNEVEN = 0.03  # of the slice distance: how far a slice may lie from its place on an even grid
_UNEVEN_MM, _UNEVEN_AT_MOST = 0.02, 0.1  # that much is granted too, positions have few decimals; part of a distance
_TILT_DEGREES = 0.2
_RIGHT_ANGLE = 1e-3
_MANY = 10.5  # slices missing in one place are more likely two stacks
_MORE_THAN_SAID = 1.5  # slices this much farther apart than the file says are worth a warning


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes in the order of k, the grid they make, and what is odd and right."""

    frames: tuple[Frame, ...]
    geometry: Geometry
    spatial_dims: int = 3
    warnings: tuple[str, ...] = ()


def stack(frames: Sequence[Frame], path: Path) -> Stack:
    """Stack the planes of one volume.

    Raises:
        ImageError: naming why they make no regular volume.
    """
    for frame in frames:
        check_plane(frame)
    if all(frame.position is None for frame in frames):
        return _picture(frames, path)
    for frame in frames:
        for keyword, value in _place_of(frame).items():
            if value is None:
                raise ImageError(
                    f"{frame.header.file}: a slice has no {keyword}, so its place is not known; export it again"
                )
    if len(frames) == 1:
        return _single(frames[0])
    along = np.array([frame.position for frame in frames]) @ normal_of(frames[0])
    frames = [frames[index] for index in np.argsort(along, kind="stable")]
    step, warnings = _step(frames, path)
    return Stack(tuple(frames), _geometry(frames, step, path), warnings=tuple(warnings))


def check_plane(frame: Frame) -> None:
    """Check that spacing and directions are such.

    Raises:
        ImageError: if they are not.
    """
    file = frame.header.file
    if frame.spacing is not None and min(frame.spacing) <= 0:
        raise ImageError(f"{file}: its PixelSpacing is {_mm(frame.spacing)} mm, which no pixel has; export it again")
    if frame.directions is not None:
        across, down = np.array(frame.directions).reshape(2, 3)
        lengths = np.linalg.norm([across, down], axis=1)
        if np.abs(lengths - 1).max() > _RIGHT_ANGLE * 10 or abs(across @ down) > _RIGHT_ANGLE * 10:
            raise ImageError(
                f"{file}: its ImageOrientationPatient is no pair of unit vectors at a right angle; export it again"
            )


def plane_affine(frame: Frame) -> NDArray[np.float64]:
    """From (column, row, -, 1) of a plane that tells its place to RAS+ mm; its normal stands for the third axis."""
    across, down = _directions(frame)
    between_rows, between_columns = frame.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = across * between_columns
    affine[:3, 1] = down * between_rows
    affine[:3, 2] = normal_of(frame)
    affine[:3, 3] = frame.position
    return LPS_TO_RAS @ affine


def normal_of(frame: Frame) -> NDArray[np.float64]:
    """The unit vector (LPS+) that a plane is normal to: row direction x column direction."""
    normal = np.cross(*_directions(frame))
    unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
    return unit


def places(frames: Sequence[Frame]) -> NDArray[np.int64]:
    """For each plane of one orientation the number of its place along the normal; equal where planes coincide."""
    along = np.array([frame.position for frame in frames], dtype=np.float64) @ normal_of(frames[0])
    order = np.argsort(along, kind="stable")
    found = np.empty(len(frames), dtype=np.int64)
    found[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > _same_place_mm(frames[0]))])
    return found


def _same_place_mm(frame: Frame) -> float:
    return min(_SAME_PLACE_MM, _SAME_PLACE * min(frame.spacing or (1,)))


def _tolerance_mm(gap: float) -> float:
    return max(_UNEVEN * gap, min(_UNEVEN_MM, _UNEVEN_AT_MOST * gap))


def _place_of(frame: Frame) -> dict[str, object]:
    return {
        "ImagePositionPatient": frame.position,
        "ImageOrientationPatient": frame.directions,
        "PixelSpacing": frame.spacing,
    }


def _directions(frame: Frame) -> NDArray[np.float64]:
    """Unit vectors along a row and along a column, LPS+, shape (2, 3)."""
    directions = np.array(frame.directions, dtype=np.float64).reshape(2, 3)
    units: NDArray[np.float64] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return units


def _geometry(frames: Sequence[Frame], step: NDArray[np.float64], path: Path) -> Geometry:
    """The grid of planes that are sorted, `step` (LPS+ mm) apart."""
    first = frames[0]
    affine = plane_affine(first)
    affine[:3, 2] = LPS_TO_RAS[:3, :3] @ step
    shape = (first.header.columns, first.header.rows, len(frames))
    try:
        return Geometry(shape, affine)
    except ValueError as error:
        raise ImageError(f"{path}: {error}; export it again") from error


def _single(frame: Frame) -> Stack:
    """One plane: a volume as thick as it says, or a picture in its place."""
    for name, depth in (("SpacingBetweenSlices", frame.between), ("SliceThickness", frame.thickness)):
        if depth is not None and abs(depth) > 0:
            geometry = _geometry([frame], normal_of(frame) * abs(depth), frame.header.file)
            return Stack((frame,), geometry, warnings=(f"a single slice; {abs(depth):g} mm thick by its {name}",))
    geometry = _geometry([frame], normal_of(frame), frame.header.file)
    warning = "a single slice that does not tell its thickness: taken as a picture in its place"
    return Stack((frame,), geometry, spatial_dims=2, warnings=(warning,))


def _picture(frames: Sequence[Frame], path: Path) -> Stack:
    """One plane without a place: an X-ray, a photograph, a screen shot."""
    first = frames[0]
    if first.header.frames > 1:
        raise ImageError(
            f"{first.header.file}: a multi-frame {first.header.modality or 'image'} that does not tell where its "
            "frames lie (a film, projections or a gated study); convert it with the scanner's software"
        )
    if len(frames) > 1:
        raise ImageError(
            f"{path}: {len(frames)} images without ImagePositionPatient, so their order and distance are not known; "
            "read them one by one, or export them again"
        )
    spacing, told_by = _picture_spacing(first)
    known = f"spacing by {told_by}" if told_by else "no spacing, 1 mm taken"
    warning = f"its place in the body is not known; {known}"
    affine = np.diag([-spacing[1], -spacing[0], 1.0, 1.0])
    geometry = Geometry((first.header.columns, first.header.rows, 1), affine)
    return Stack((first,), geometry, spatial_dims=2, warnings=(warning,))


def _picture_spacing(frame: Frame) -> tuple[tuple[float, ...], str]:
    """Between rows and between columns, mm, and the name of the value that tells it."""
    values = frame.header.values
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = frame.spacing if keyword == "PixelSpacing" else values.numbers(keyword, 2)
        if spacing is None:
            continue
        if min(spacing) <= 0:
            raise ImageError(f"{frame.header.file}: its {keyword} is {_mm(spacing)} mm, which no pixel has")
        note = "PixelSpacing" if keyword == "PixelSpacing" else f"{keyword}, which is that of the detector"
        return spacing, note
    return (1.0, 1.0), ""


def _step(frames: Sequence[Frame], path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """The way from slice to slice in LPS+ mm, and what a user should know of it."""
    positions = np.array([frame.position for frame in frames])
    normal = normal_of(frames[0])
    gaps = np.diff(positions @ normal)
    typical = float(np.median(gaps))
    _check_repeats(gaps, frames, path)
    indices = np.arange(len(frames)) - (len(frames) - 1) / 2
    step: NDArray[np.float64] = indices @ positions / (indices @ indices)
    even = positions.mean(axis=0) + indices[:, None] * step
    if np.linalg.norm(positions - even, axis=1).max() > _tolerance_mm(typical):
        raise ImageError(f"{path}: {_why_uneven(frames, positions, normal)}")
    # Ends are exact, the fit is not: decimals of a position do not add up.
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    return step, [*_tilt(step, normal), *_farther_than_said(frames[0], typical)]


def _check_repeats(gaps: NDArray[np.float64], frames: Sequence[Frame], path: Path) -> None:
    repeated = int((gaps <= _same_place_mm(frames[0])).sum())
    if repeated:
        raise ImageError(
            f"{path}: {repeated} slice positions occur more than once and no tag tells the images there apart (several "
            "time points or echoes, or one position twice); put one volume into a folder of its own"
        )


def _why_uneven(frames: Sequence[Frame], positions: NDArray[np.float64], normal: NDArray[np.float64]) -> str:
    gaps = np.diff(positions @ normal)
    usual = _usual(gaps)
    worst = int(np.argmax(np.abs(gaps - usual)))
    after = f"after slice {worst + 1} of {len(frames)} ({frames[worst].header.file.name})"
    ratio = gaps / usual
    whole = np.abs(ratio - ratio.round()) < 2 * _UNEVEN * ratio.round().clip(1)
    if whole.all() and 1.5 < ratio.max() < _MANY:
        missing = int((ratio.round() - 1).sum())
        count = "a slice is missing" if missing == 1 else f"{missing} slices are missing"
        return (
            f"{count}: the slices lie {usual:.3f} mm apart, and {gaps[worst]:.3f} mm {after}; export the series again"
        )
    if gaps.max() - gaps.min() <= 2 * _tolerance_mm(usual):
        sideways = positions - np.outer(positions @ normal, normal)
        if np.linalg.norm(np.diff(sideways, axis=0), axis=1).max() > _UNEVEN * usual:
            return "its slices are shifted sideways against each other; resample them to one grid first"
        return (
            f"its slice distances drift from {gaps.min():.3f} to {gaps.max():.3f} mm; resample it to an even grid first"
        )
    if gaps.min() < usual / 2:
        closest = int(np.argmin(gaps))
        return (
            f"its slices overlap: {gaps.min():.3f} mm apart after slice {closest + 1} of {len(frames)} "
            f"({frames[closest].header.file.name}), {usual:.3f} mm elsewhere; put one stack into a folder of its own"
        )
    return (
        f"uneven slice distances from {gaps.min():.3f} to {gaps.max():.3f} mm, the oddest {after}; slices are missing, "
        "or it must be resampled to an even grid first"
    )


def _usual(gaps: NDArray[np.float64]) -> float:
    """The distance that most slices have: the middle of the largest cluster."""
    near = np.abs(gaps[:, None] - gaps[None, :]) <= np.array([_tolerance_mm(gap) for gap in gaps])
    return float(np.median(gaps[near[np.argmax(near.sum(axis=1))]]))


def _tilt(step: NDArray[np.float64], normal: NDArray[np.float64]) -> list[str]:
    degrees = float(np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1))))
    if degrees <= _TILT_DEGREES:
        return []
    return [
        f"gantry tilt: the slices are stacked {degrees:.1f} degrees off their normal; the affine is sheared, "
        "right-angled formats need resampling"
    ]


def _farther_than_said(first: Frame, gap: float) -> list[str]:
    said = abs(first.between or 0)
    if said and gap > _MORE_THAN_SAID * said:
        return [f"its slices lie {gap:.3f} mm apart, and the file says {said:g} mm: every other one may be missing"]
    return []


def _mm(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
