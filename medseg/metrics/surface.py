"""How far apart two masks' surfaces lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.spatial import cKDTree

from medseg.class_boxes import structure_box


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """For every surface voxel of one mask the distance in mm to the nearest surface voxel of the other.

    A surface voxel is one of the mask with a neighbour across a face (4 in 2D, 6 in 3D) outside of it, or
    at the edge of the array; distances run between voxel centres. An axis of length 1 has no neighbours: a
    picture stored as a volume of one slice has contours, not faces.
    """

    from_label: NDArray[np.float64]
    from_segmentation: NDArray[np.float64]

    def hd95_mm(self) -> float:
        """The larger of the two directed 95th percentiles (Metrics Reloaded, Maier-Hein et al. 2024)."""
        return float(max(np.percentile(self.from_label, 95), np.percentile(self.from_segmentation, 95)))

    def surface_dice(self, tolerance_mm: float) -> float:
        """The share of both surfaces within `tolerance_mm` of the other (Nikolov et al. 2018, by voxels)."""
        close = (self.from_label <= tolerance_mm).sum() + (self.from_segmentation <= tolerance_mm).sum()
        return float(close / (self.from_label.size + self.from_segmentation.size))


def surface_distances(
    label: NDArray[np.bool_],
    segmentation: NDArray[np.bool_],
    *,
    spacing: Sequence[float],
    axes: NDArray[np.float64] | None = None,
) -> SurfaceDistances:
    """The surface distances of two masks of one shape, 2D or 3D, neither of them empty.

    Args:
        label: the true mask.
        segmentation: the predicted mask.
        spacing: mm between neighbours along each axis.
        axes: the steps in mm from a voxel to its neighbours, a column for each axis, where these are oblique to each
            other, as under a gantry's tilt; None where they are at right angles.

    Raises:
        ValueError: if a mask is empty: a distance to nothing has no value (see `score_case`).
    """
    if not label.any() or not segmentation.any():
        raise ValueError("the distance to the surface of an empty mask has no value")
    long = [axis for axis, length in enumerate(label.shape) if length > 1] or [0]
    flat = tuple(axis for axis in range(label.ndim) if axis not in long)
    label, segmentation, spacing = label.squeeze(flat), segmentation.squeeze(flat), [spacing[axis] for axis in long]
    joint = structure_box((label | segmentation).view(np.uint8), [1]) or ()
    true, mine = _surface(label[joint]), _surface(segmentation[joint])
    if axes is not None:
        ours, theirs = (np.argwhere(each) @ axes[:, long].T for each in (true, mine))
        return SurfaceDistances(cKDTree(theirs).query(ours)[0], cKDTree(ours).query(theirs)[0])
    # MONAI 1.6's get_edge_surface_distance gives the same numbers in twice the time (and a FutureWarning).
    return SurfaceDistances(
        from_label=distance_transform_edt(~mine, sampling=spacing)[true],
        from_segmentation=distance_transform_edt(~true, sampling=spacing)[mine],
    )


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = binary_erosion(mask)  # beyond the array there is nothing
    return mask & ~inside
