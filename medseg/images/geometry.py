"""Where voxels lie in the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # of DICOM's and ITK's world to ours; it is its own inverse
LPS_TO_RAS.setflags(write=False)
_SHORTEST_MM = 1e-9  # a thousandth of a nanometre
_RIGHT_ANGLED = 1e-3  # cosine, of axes that float32 rounds


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of a volume.

    Attributes:
        shape: voxels along i, j, k.
        affine: 4 x 4 float64, from voxel index (i, j, k, 1) to the world in RAS+ mm; index (0, 0, 0) is
            the centre of the first voxel.

    Raises:
        ValueError: if the shape has no voxels or the affine is no invertible 4 x 4 affine of finite numbers.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape {shape}: expected three lengths of at least 1")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            raise ValueError("the affine is no 4 x 4 affine of finite numbers")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() < _SHORTEST_MM or abs(np.linalg.det(affine[:3, :3])) <= 1e-6 * lengths.prod():
            raise ValueError("the affine cannot be inverted: two axes lie on one line, or a spacing is 0")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbours along i, j, k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k

    @property
    def is_sheared(self) -> bool:
        """Whether axes are oblique to each other, by more than rounding: a gantry's tilt."""
        unit = self.affine[:3, :3] / np.array(self.spacing)
        return bool(np.abs(unit.T @ unit - np.eye(3)).max() > _RIGHT_ANGLED)

    @property
    def orientation(self) -> str:
        """The direction that i, j, k run to, as the nearest of R/L, A/P, S/I: "RAS", "LPS", ..."""
        return "".join(nib.orientations.aff2axcodes(self.affine))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL; right for sheared grids too."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def corners(self) -> NDArray[np.float64]:
        """The world positions (RAS+ mm) of the eight corner voxels' centres, shape (8, 3)."""
        indices = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1)
        corners: NDArray[np.float64] = (self.affine[:3, :3] @ indices + self.affine[:3, 3:]).T
        return corners

    @property
    def has_no_place(self) -> bool:
        """Whether this is the grid of a picture that no file places in the world: see `images.picture`."""
        scale = np.diag(self.affine)
        return bool(np.array_equal(self.affine, np.diag(scale)) and np.array_equal(np.sign(scale), [-1, -1, 1, 1]))

    def agrees_with(self, other: Geometry, *, tolerance_mm: float = 1e-3) -> bool:
        """Whether the shapes are equal and every corner lies within `tolerance_mm` of the other's."""
        return self.shape == other.shape and self._farthest(other) <= tolerance_mm

    def difference(self, other: Geometry) -> str:
        """In words, for an error: how this grid differs from `other`."""
        if self.shape != other.shape:
            return f"shape {self.shape} against {other.shape}"
        return (
            f"the corners lie up to {self._farthest(other):.3g} mm apart (orientation {self.orientation} against "
            f"{other.orientation}, spacing {_rounded(self.spacing)} against {_rounded(other.spacing)} mm)"
        )

    def _farthest(self, other: Geometry) -> float:
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())


def reordered(array: NDArray[Any], geometry: Geometry, grid: Geometry) -> NDArray[Any] | None:
    """Voxels of `geometry` in the order of `grid`, where the two differ by the order and direction of axes only.

    Other tools store the same scan with other axes (dcm2niix turns j round, for one). None where the grids
    differ by more. `array` is `(i, j, k)` or `(i, j, k, channel)`; a view of it is returned.
    """
    turn = np.linalg.inv(grid.affine[:3, :3]) @ geometry.affine[:3, :3]
    whole = np.rint(turn).astype(int)
    if not (np.abs(whole).sum(axis=0) == 1).all() or not (np.abs(whole).sum(axis=1) == 1).all():
        return None
    order = np.abs(whole).argmax(axis=1)
    backward = [axis for axis in range(3) if whole[axis, order[axis]] < 0]
    to_source = np.eye(4)  # from the new index to the old one
    to_source[:3, :3] = whole.T
    for axis in backward:
        to_source[order[axis], 3] = geometry.shape[order[axis]] - 1
    shape = tuple(geometry.shape[axis] for axis in order)
    if not Geometry(shape, geometry.affine @ to_source).agrees_with(grid):  # type: ignore[arg-type]
        return None
    turned: NDArray[Any] = array.transpose(*order, *range(3, array.ndim))
    return np.flip(turned, axis=tuple(backward))


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)
