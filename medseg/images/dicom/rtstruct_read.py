"""RT structure sets (PS3.3 A.19) as label maps: closed contours filled on the grid of their image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from medseg.errors import ImageError
from medseg.images.dicom.files import has_class
from medseg.images.dicom.quiet import quiet
from medseg.images.dicom.sop_class import STRUCTURE_SET
from medseg.images.dicom.structures import Plane, draw
from medseg.images.dicom.values import Values
from medseg.images.geometry import LPS_TO_RAS, Geometry
from medseg.images.image import Image
from medseg.types import LabelClass

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT = 0.25  # of a slice distance: how far the points of one contour may lie off their plane
_BETWEEN = 0.05  # of a slice distance: contours farther off their slice are told


def is_rtstruct(path: Path) -> bool:
    """Whether a file is an RT structure set; False for whatever cannot be read."""
    return has_class(path, STRUCTURE_SET)


def read_rtstruct(path: Path, *, grid: Geometry) -> Image:
    """Fill the contours of a structure set on the grid of the image it was drawn on.

    A voxel belongs to a structure where its centre lies inside; contours of one structure on one plane cut
    holes into each other (even-odd). A contour between two slices counts for the nearer one; of several
    planes that are nearest to one slice, the nearest counts.

    Args:
        path: the file.
        grid: of the image series; i = column, j = row.

    Returns:
        A label map `(i, j, k)`, or 0 and 1 in `(i, j, k, structure)` where structures overlap; values are 1, 2,
        ... in the order of ROINumber, names and colours stand in `classes`.

    Raises:
        ImageError: if the file is damaged, a contour is not parallel to the slices, or lies outside of the image.
    """
    with quiet():
        structures = _structures(path)
    contours = [_Outline.of(points, each.name, grid, path) for each in structures for points in each.contours]
    owners = [each.value for each in structures for _ in each.contours]
    classes = tuple(LabelClass(each.value, each.name, each.colour) for each in structures)
    array, overlaps = draw(lambda: _planes(contours, owners, grid.shape), grid.shape, classes)
    return Image(
        array=array,
        geometry=grid,
        path=path,
        format="RTSTRUCT",
        files=(path,),
        modality="RTSTRUCT",
        classes=classes,
        warnings=(*_warnings(structures, contours, owners), *overlaps),
    )


def structures_in(path: Path) -> dict[str, int]:
    """The names of the structures in a file, and how many closed contours each has.

    Raises:
        ImageError: if the file is damaged.
    """
    with quiet():
        return {each.name: len(each.contours) for each in _structures(path)}


@dataclass(frozen=True, eq=False)
class _Structure:
    """A region of interest: its value, and its closed contours as points `(n, 3)`, LPS+ mm."""

    value: int
    name: str
    colour: tuple[int, int, int] | None
    contours: list[NDArray[np.float64]]
    skipped: int


@dataclass(frozen=True, eq=False)
class _Outline:
    """A contour in voxel indices: its points `(n, 2)` along i and j, its height along k, the nearest slice."""

    points: NDArray[np.float64]
    height: float
    k: int

    @classmethod
    def of(cls, points: NDArray[np.float64], name: str, grid: Geometry, path: Path) -> _Outline:
        to_index = np.linalg.inv(grid.affine)
        index = points @ LPS_TO_RAS[:3, :3] @ to_index[:3, :3].T + to_index[:3, 3]
        height = float(index[:, 2].mean())
        if np.abs(index[:, 2] - height).max() > _FLAT:
            raise ImageError(
                f"{path}: a contour of '{name}' is not parallel to the slices of its image; resample the image"
            )
        k = round(height)
        low, high = index[:, :2].min(axis=0), index[:, :2].max(axis=0)
        if (
            not 0 <= k < grid.shape[2]
            or low.min() < -0.5 - _FLAT
            or (high > np.array(grid.shape[:2]) - 0.5 + _FLAT).any()
        ):
            raise ImageError(f"{path}: a contour of '{name}' lies outside of its image; is it another series?")
        return cls(index[:, :2], height, k)


def _planes(contours: Sequence[_Outline], owners: Sequence[int], shape: tuple[int, int, int]) -> Iterator[Plane]:
    slices: dict[tuple[int, int], list[_Outline]] = {}
    for contour, owner in zip(contours, owners, strict=True):
        slices.setdefault((owner, contour.k), []).append(contour)
    for (owner, k), outlines in slices.items():
        nearest = min((each.height for each in outlines), key=lambda height: abs(height - k))
        same_plane = [each.points for each in outlines if abs(each.height - nearest) < 1e-3]
        yield Plane(owner, (slice(None), slice(None), k), fill(same_plane, shape[:2]))


def fill(outlines: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels `(i, j)` whose centres lie inside an odd number of closed outlines of points `(n, 2)`.

    Every edge is crossed by the lines of constant j; a crossing at c turns all pixels of the line from c on.
    """
    turns = np.zeros((shape[0] + 1, shape[1]), np.int64)
    for points in outlines:
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            low, high = sorted((y0, y1))
            rows = np.arange(max(0, int(np.ceil(low))), min(shape[1], int(np.ceil(high))))
            if len(rows):
                crossings = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
                np.add.at(turns, (np.clip(np.ceil(crossings).astype(int), 0, shape[0]), rows), 1)
    inside: NDArray[np.bool_] = np.cumsum(turns[:-1], axis=0) % 2 == 1
    return inside


def _structures(path: Path) -> list[_Structure]:
    try:
        values = Values(pydicom.dcmread(path, force=True), path)
    except Exception as error:
        raise ImageError(f"{path}: a damaged RT structure set; fetch it again") from error
    names = {each.whole("ROINumber"): each.text("ROIName") for each in values.items("StructureSetROISequence")}
    contours = values.items("ROIContourSequence")
    drawn = {each.whole("ReferencedROINumber"): each for each in contours}
    if not names or None in names or not drawn.keys() <= names.keys() or len(drawn) < len(contours):
        raise ImageError(f"{path}: its structures are not described as DICOM asks for; export it again")
    numbers = sorted(number for number in names if number is not None)
    return [_structure(value, names[number], drawn.get(number), path) for value, number in enumerate(numbers, 1)]


def _structure(value: int, name: str, drawn: Values | None, path: Path) -> _Structure:
    name = name or f"structure {value}"
    contours = drawn.items("ContourSequence") if drawn else []
    closed = [each for each in contours if each.text("ContourGeometricType") in _CLOSED]
    colour = drawn.numbers("ROIDisplayColor", 3) if drawn else None
    rgb = tuple(int(each) for each in colour) if colour and all(0 <= each <= 255 for each in colour) else None
    points = [_points(each, name, path) for each in closed]
    return _Structure(value, name, rgb, points, len(contours) - len(closed))  # type: ignore[arg-type]


def _points(contour: Values, name: str, path: Path) -> NDArray[np.float64]:
    try:
        points = np.array([float(each) for each in contour.texts("ContourData")]).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise ImageError(f"{path}: a contour of '{name}' is damaged; export it again") from error
    if len(points) < 3 or not np.isfinite(points).all():
        raise ImageError(f"{path}: a contour of '{name}' has no three points; export it again")
    return points


def _warnings(structures: Sequence[_Structure], contours: Sequence[_Outline], owners: Sequence[int]) -> list[str]:
    told = []
    empty = [f"'{each.name}'" for each in structures if not each.contours]
    if empty:
        told.append(f"without closed contours, so not drawn: {', '.join(empty)}")
    sparse = [
        f"'{each.name}'"
        for each in structures
        if _sparse([outline.k for outline, owner in zip(contours, owners, strict=True) if owner == each.value])
    ]
    if sparse:
        told.append(f"no two slices next to each other have contours, those between stay empty: {', '.join(sparse)}")
    skipped = sum(each.skipped for each in structures)
    if skipped:
        told.append(f"{skipped} contours are points or open lines, which enclose nothing; they were left out")
    off = max((abs(each.height - each.k) for each in contours), default=0)
    if off > _BETWEEN:
        told.append(f"contours lie up to {off:.2f} slice distances beside the slices; each counts for the nearest")
    return told


def _sparse(slices: Sequence[int]) -> bool:
    """Whether contours were drawn on several slices, no two of them neighbours: on every other one of a scan, say."""
    return len(set(slices)) > 1 and int(np.diff(np.unique(slices)).min()) > 1
