"""Some voxels for all of them: what percentiles and medians of large scans are taken from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ENOUGH = 1 << 20
_FEW = 1000


def evenly_spaced(array: NDArray[Any]) -> NDArray[Any]:
    """A view of every so many-th voxel along the spatial axes, of about a million values; of all if there are no more.

    Args:
        array: `(i, j, k)`, also with channels behind them, of which none is left out.
    """
    axes = min(3, array.ndim)
    step = max(1, int(np.ceil((array.size / _ENOUGH) ** (1 / axes))))
    return array[(slice(None, None, step),) * axes]


def values_inside(array: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """The values of evenly spaced voxels in a mask of the array's shape; of all in it where those are few."""
    values: NDArray[Any] = evenly_spaced(array)[evenly_spaced(mask)]
    return values if values.size >= _FEW else array[mask]
