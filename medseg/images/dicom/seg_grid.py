"""Where the frames of a segmentation lie: on a grid that is given, or on the smallest that holds them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError
from medseg.images.dicom.frames import Frame
from medseg.images.dicom.slices import check_plane, normal_of, plane_affine
from medseg.images.geometry import LPS_TO_RAS, Geometry

_OFF = 0.05  # of a voxel: how far a frame may lie beside the grid; positions are written with few decimals
_UNEVEN = 0.03  # of a step
_SAME_PLACE_MM = 0.01


@dataclass(frozen=True, eq=False)
class Place:
    """The voxels `index` of a frame's pixels, and whether their first axis is j rather than i."""

    index: Any
    rows_first: bool

    def turn(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """A frame's pixels `(row, column)` in the order of `index`."""
        turned = pixels if self.rows_first else pixels.T
        return turned.reshape([len(axis.ravel()) for axis in self.index])


def own_grid(frames: Sequence[Frame], path: Path) -> Geometry:
    """The smallest regular grid that holds every frame: i = column, j = row, k along the normal; RAS+ mm.

    Frames without structures are often left out, so gaps may be several steps wide.

    Raises:
        ImageError: if a frame does not tell its place, or no regular grid holds them all.
    """
    _check(frames, path)
    first = frames[0]
    positions = np.array([frame.position for frame in frames])
    along = positions @ normal_of(first)
    order = np.argsort(along)
    kept = order[np.concatenate([[True], np.diff(along[order]) > _SAME_PLACE_MM])]
    if len(kept) == 1:
        depth = first.between or first.thickness or 0
        if depth <= 0:
            raise ImageError(f"{path}: one slice that does not tell its thickness; name the image it belongs to")
        return _grid(first, normal_of(first) * depth, 1, path)
    gaps = np.diff(along[kept])
    depth = first.between if first.between and _are_multiples(gaps, first.between) else float(gaps.min())
    if not _are_multiples(gaps, depth):
        raise ImageError(
            f"{path}: its frames lie unevenly, {gaps.min():.3f} to {gaps.max():.3f} mm apart; name the image"
        )
    steps = round(float(along[kept[-1]] - along[kept[0]]) / depth)
    return _grid(frames[kept[0]], (positions[kept[-1]] - positions[kept[0]]) / steps, steps + 1, path)


def placed(frame: Frame, grid: Geometry, path: Path) -> Place:
    """The voxels of `grid` that a frame's pixels lie on.

    Raises:
        ImageError: if it lies between the voxels of the grid, is turned against it, or reaches out of it.
    """
    _check([frame], path)
    columns, rows = frame.header.columns, frame.header.rows
    to_index = np.linalg.inv(grid.affine) @ plane_affine(frame)
    start = to_index[:3, 3]
    ways = to_index[:3, :2].T  # a step along a row, and along a column
    axes = [int(np.abs(way).argmax()) for way in ways]
    signs = [int(np.sign(way[axis])) for way, axis in zip(ways, axes, strict=True)]
    whole_ways = np.zeros((2, 3), int)
    whole_ways[[0, 1], axes] = signs
    steps = np.array([[0, 0], [columns - 1, 0], [0, rows - 1]])  # to three of the corners
    # Counted in whole steps, not rounded each by itself: another spacing may end on a voxel by chance.
    whole = np.rint(start).astype(int) + steps @ whole_ways
    off = np.abs(start + steps @ ways - whole).max()
    if off > _OFF or axes[0] == axes[1]:
        raise ImageError(
            f"{path}: frame {frame.index + 1} does not lie on the voxels of its image (up to {off:.2f} voxels beside "
            "them); is it another series?"
        )
    lowest, highest = whole.min(axis=0), whole.max(axis=0)
    if lowest.min() < 0 or (highest >= grid.shape).any():
        raise ImageError(f"{path}: frame {frame.index + 1} lies outside of its image; is it another series?")
    index = [np.array([whole[0, axis]]) for axis in range(3)]
    index[axes[0]] = whole[0, axes[0]] + signs[0] * np.arange(columns)
    index[axes[1]] = whole[0, axes[1]] + signs[1] * np.arange(rows)
    return Place(np.ix_(*index), rows_first=axes[1] < axes[0])


def _check(frames: Sequence[Frame], path: Path) -> None:
    for frame in frames:
        check_plane(frame)
        if frame.position is None or frame.directions is None or frame.spacing is None:
            raise ImageError(
                f"{path}: frame {frame.index + 1} does not tell where it lies in the patient (slides and pictures have "
                "no such place); only segmentations of volumes are read"
            )
        if not np.allclose(frame.directions, frames[0].directions or (), atol=1e-3):
            raise ImageError(f"{path}: its frames have different orientations; split it first")


def _are_multiples(gaps: NDArray[np.float64], step: float) -> bool:
    steps = gaps / step
    return bool((np.rint(steps) >= 1).all() and (np.abs(steps - np.rint(steps)) <= _UNEVEN).all())


def _grid(frame: Frame, step: NDArray[np.float64], count: int, path: Path) -> Geometry:
    affine = plane_affine(frame)
    affine[:3, 2] = LPS_TO_RAS[:3, :3] @ step
    try:
        return Geometry((frame.header.columns, frame.header.rows, count), affine)
    except ValueError as error:
        raise ImageError(f"{path}: {error}; export it again") from error
