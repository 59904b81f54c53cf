"""Siemens mosaics: all slices of one time point as tiles of one picture, with the volume told in a private header."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from medseg.images.dicom.frames import Frame
from medseg.images.dicom.headers import Header
from medseg.images.geometry import LPS_TO_RAS, Geometry

_UNKNOWN = "a Siemens mosaic whose private header is missing: taken as a picture of tiles, not as a volume"


def is_mosaic(header: Header) -> bool:
    """Whether a picture is made of tiles, each a slice."""
    return "MOSAIC" in header.image_type and header.frames == 1


@dataclass(frozen=True, eq=False)
class Mosaic:
    """How a mosaic unfolds: `count` tiles, `across` in a row; `reverse` where k must run against their order."""

    geometry: Geometry
    count: int
    across: int
    reverse: bool

    def unfold(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Tiles `(column, row, 1)` as slices `(i, j, k)`."""
        columns, rows, _ = self.geometry.shape
        tiles = picture[: columns * self.across, : rows * self.across, 0]
        tiles = tiles.reshape(self.across, columns, self.across, rows)
        volume = tiles.transpose(1, 3, 2, 0).reshape(columns, rows, -1, order="C")[:, :, : self.count]
        return np.asfortranarray(volume[:, :, ::-1] if self.reverse else volume)


def mosaic_of(frame: Frame) -> Mosaic | None:
    """How a mosaic unfolds; None where its file does not tell.

    Its ImagePositionPatient is that of a picture as large as all tiles, centred where the slices are: the
    first voxel lies half the difference of the sizes further in.
    """
    told = _told(frame)
    if told is None or frame.position is None or frame.directions is None or frame.spacing is None:
        return None
    count, towards = told
    across = math.ceil(math.sqrt(count))
    columns, rows = frame.header.columns // across, frame.header.rows // across
    between_slices = abs(frame.between or 0)
    if not between_slices or min(columns, rows) < 1:
        return None
    directions = np.array(frame.directions).reshape(2, 3)
    axes = directions * np.array(frame.spacing[::-1])[:, None]
    normal = np.cross(*directions)
    reverse = bool(normal @ towards < 0)
    step = normal * between_slices
    inwards = np.array([frame.header.columns - columns, frame.header.rows - rows]) / 2
    first = np.array(frame.position) + inwards @ axes - (step * (count - 1) if reverse else 0)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([*axes, step])
    affine[:3, 3] = first
    try:
        geometry = Geometry((columns, rows, count), LPS_TO_RAS @ affine)
    except ValueError:
        return None
    return Mosaic(geometry, count, across, reverse)


def unknown_mosaic() -> str:
    """What to tell of a mosaic that does not unfold."""
    return _UNKNOWN


def _told(frame: Frame) -> tuple[int, NDArray[np.float64]] | None:
    """Number of slices and the direction that they follow each other in, LPS+."""
    try:
        from nibabel.nicom import csareader  # warns when imported, which `quiet` hides

        private = csareader.get_csa_header(pydicom.dcmread(frame.header.file, stop_before_pixels=True, force=True))
        count, towards = csareader.get_n_mosaic(private), csareader.get_slice_normal(private)
        normal = np.array(towards, dtype=np.float64)
        return (int(count), normal) if count >= 1 and normal.shape == (3,) else None
    except Exception:  # a private header, in a format that was never published
        return None
