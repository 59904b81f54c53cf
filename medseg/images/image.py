"""What every reader returns: voxels with a place in the world.

The one convention of axes, for every format:

- `array` is `(i, j, k)`, or `(i, j, k, channel)` for colours, sequences and overlapping segments. Index
  `(i, j, k)` is what the affine takes; for DICOM and pictures i is the column (x), j the row (y), k the slice.
- A picture (PNG, JPEG, an X-ray) has k of length 1 and `spatial_dims` 2.
- The world is RAS+ mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medseg.images.geometry import Geometry
from medseg.types import LabelClass


@dataclass(frozen=True, eq=False)
class Image:
    """An image or label map as it was read. Nothing in it names a patient but the paths that the user gave.

    Attributes:
        array: voxels `(i, j, k)` or `(i, j, k, channel)`; HU for CT.
        geometry: their grid, index -> RAS+ mm.
        path: the file or folder that was asked for.
        format: such as "NIfTI", "DICOM", "DICOM SEG", "NRRD", "PNG".
        files: every file that voxels came from, in the order of k (or of channels).
        modality: as DICOM names it (CT, MR), where the file tells.
        spatial_dims: 2 for a picture, else 3.
        classes: of a label map, where the file names them (SEG, RTSTRUCT, a sidecar).
        rounded: voxels that the file holds in more digits than float32 has.
        hidden: transparent pixels of a picture that have a visible one's colour: in a label they may be the drawing.
        warnings: what a user should know and what does not make the voxels wrong.
    """

    array: NDArray[Any]
    geometry: Geometry
    path: Path
    format: str
    files: tuple[Path, ...] = ()
    modality: str | None = None
    spatial_dims: int = 3
    classes: tuple[LabelClass, ...] = ()
    rounded: int = 0
    hidden: int = 0
    warnings: tuple[str, ...] = ()
