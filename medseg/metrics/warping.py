"""What is left wrong of a segmentation once the truth has been bent towards it: errors of topology alone.

The warping error of Jain et al. 2010 ("Boundary learning by optimization with topological constraints"),
one of the scores of the ISBI 2012 challenge. Masks are 2D and True in the interior of cells, False on the
boundaries between them. Interior hangs together across edges (4 neighbours), boundary across corners too
(8), as in the challenge; beyond the image all is boundary.
"""

from __future__ import annotations

from collections import deque
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

# Rows and columns to the neighbours of a pixel, in the order of the bits of a neighbourhood's number.
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def warping_error(truth: NDArray[np.bool_], proposal: NDArray[np.bool_]) -> float:
    """The share of pixels in which the truth still differs from the proposal once warped to it.

    Zero where the two have the same topology and lie close enough to be bent into each other: a boundary
    that is thicker or displaced by less than its width costs nothing, a gap or a false boundary does.

    Args:
        truth: True in the interior of cells, 2D.
        proposal: likewise, of the same shape.

    Raises:
        ValueError: if the shapes differ or are not 2D.
    """
    return pixel_error(warped(truth, proposal), proposal)


def pixel_error(truth: NDArray[np.bool_], proposal: NDArray[np.bool_]) -> float:
    """The share of pixels in which two masks of one shape differ: one less their accuracy."""
    _same_shape(truth, proposal)
    return float((truth != proposal).mean()) if truth.size else float("nan")


def warped(truth: NDArray[np.bool_], proposal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The truth bent towards the proposal, pixel by pixel, without a change of its topology.

    Pixels in which the two differ are flipped one after the other, row by row at first, wherever the pixel
    is simple: then no cell and no boundary is joined, parted, made or lost (Bertrand and Malandain 1994).
    It ends when no pixel that differs is simple; another order may end with a few pixels more or fewer. The paper's
    geometric constraint, how far from the truth's border a pixel may be flipped, is left out.

    Args:
        truth: True in the interior of cells, 2D.
        proposal: likewise, of the same shape.

    Raises:
        ValueError: if the shapes differ or are not 2D.
    """
    _same_shape(truth, proposal)
    if truth.ndim != 2:
        raise ValueError(f"warping is of 2D masks, not of {truth.shape}")
    free = truth != proposal
    # A frame of boundary saves asking at every pixel whether it is at the edge; lists are faster than arrays here.
    width = truth.shape[1] + 2
    current = bytearray(np.pad(truth, 1).astype(np.uint8).tobytes())
    waiting = bytearray(np.pad(free, 1).astype(np.uint8).tobytes())
    different = bytearray(waiting)
    steps = [row * width + column for row, column in _NEIGHBOURS]
    bits = [(step, 1 << bit) for bit, step in enumerate(steps)]
    simple = _simple_points()
    queue = deque(np.flatnonzero(np.pad(free, 1)).tolist())
    while queue:
        pixel = queue.popleft()
        waiting[pixel] = 0
        neighbourhood = 0
        for step, bit in bits:
            if current[pixel + step]:
                neighbourhood |= bit
        if not simple[neighbourhood]:
            continue
        current[pixel] ^= 1
        different[pixel] = 0
        # Only a flip beside it makes a pixel simple that was not.
        for step in steps:
            if different[pixel + step] and not waiting[pixel + step]:
                waiting[pixel + step] = 1
                queue.append(pixel + step)
    framed = np.frombuffer(current, dtype=np.uint8).reshape(-1, width)
    return framed[1:-1, 1:-1].astype(bool)


@cache
def _simple_points() -> tuple[bool, ...]:
    """For each of the 256 neighbourhoods of a pixel whether its flip keeps the topology.

    It does if among its neighbours one component of the interior touches it across an edge, and one of the
    boundary is there at all: the topological numbers T4 and T8 are both 1.
    """
    return tuple(_is_simple(number) for number in range(2 ** len(_NEIGHBOURS)))


def _is_simple(number: int) -> bool:
    interior, boundary = np.zeros((2, 3, 3), dtype=bool)
    for bit, (row, column) in enumerate(_NEIGHBOURS):
        interior[1 + row, 1 + column] = number >> bit & 1
        boundary[1 + row, 1 + column] = not number >> bit & 1
    components, _ = label(interior)
    touching = {int(components[place]) for place in ((0, 1), (1, 0), (1, 2), (2, 1))} - {0}
    _, boundaries = label(boundary, structure=np.ones((3, 3)))
    return len(touching) == 1 and boundaries == 1


def _same_shape(truth: NDArray[np.bool_], proposal: NDArray[np.bool_]) -> None:
    if truth.shape != proposal.shape:
        raise ValueError(f"truth {truth.shape} and proposal {proposal.shape} do not fit")
