"""A warp keeps the topology, costs nothing where it agrees, and counts what is left by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from medseg.metrics import Confusion, pixel_error, warped, warping_error

Mask = NDArray[np.bool_]

CORNERS_TOO = np.ones((3, 3))


def picture(*rows: str) -> Mask:
    """Interior is `.`, boundary `#`."""
    return np.array([[pixel == "." for pixel in row] for row in rows])


def two_cells(start: int = 9, stop: int = 12) -> Mask:
    """Cells of 20 rows on both sides of an upright boundary from column `start` to before `stop`."""
    image = np.ones((20, 21), dtype=bool)
    image[:, start:stop] = False
    return image


def components(mask: Mask) -> tuple[int, int]:
    """Of the interior across edges and of the boundary across corners, beyond the image too."""
    framed = np.pad(mask, 1)
    return int(label(framed)[1]), int(label(~framed, structure=CORNERS_TOO)[1])


@given(masks=npst.arrays(bool, (2, 7, 8)))
def test_warp_keeps_the_topology_and_never_errs_more(masks: NDArray[np.bool_]) -> None:
    truth, proposal = masks
    bent = warped(truth, proposal)
    assert components(bent) == components(truth)
    assert ((bent == truth) | (bent == proposal)).all()
    assert warping_error(truth, proposal) <= pixel_error(truth, proposal)


@given(masks=npst.arrays(bool, (2, 6, 6)))
def test_warp_ends_where_any_flip_would_change_the_topology(masks: NDArray[np.bool_]) -> None:
    """A flip that merges a component and makes another keeps their numbers, so it may be left too."""
    bent = warped(*masks)
    for place in zip(*np.nonzero(bent != masks[1]), strict=True):
        flipped = bent.copy()
        flipped[place] ^= True
        before, after = (np.pad(each, 1)[place[0] : place[0] + 3, place[1] : place[1] + 3] for each in (bent, flipped))
        assert not simple_by_circuit(before) and not simple_by_circuit(after)


def simple_by_circuit(patch: Mask) -> bool:
    """Hilditch's crossing number for 4-connected interior: one change from boundary to interior round the pixel.

    An odd (edge) neighbour counts where it is interior and the next two places round the pixel are not both.
    """
    ring = [patch[place] for place in ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0), (0, 1))]
    number = sum(int(ring[k]) - int(ring[k]) * int(ring[k + 1]) * int(ring[k + 2]) for k in (0, 2, 4, 6))
    return number == 1


@given(mask=npst.arrays(bool, (7, 8)))
def test_truth_itself_costs_nothing(mask: Mask) -> None:
    assert warping_error(mask, mask) == 0


@pytest.mark.parametrize("moved", [(10, 13), (8, 11), (11, 14), (5, 16), (10, 11), (9, 10), (2, 12)])
def test_shifted_thicker_or_thinner_boundary_costs_nothing(moved: tuple[int, int]) -> None:
    proposal = two_cells(*moved)
    assert pixel_error(two_cells(), proposal) > 0
    assert warping_error(two_cells(), proposal) == 0
    assert warping_error(two_cells().T, proposal.T) == 0


def test_gap_costs_what_keeps_the_cells_apart() -> None:
    """A gap of 5 rows: of its 15 pixels one line of 5 stays to part the cells."""
    proposal = two_cells()
    proposal[8:13] = True
    assert pixel_error(two_cells(), proposal) == pytest.approx(15 / 420)
    assert warping_error(two_cells(), proposal) == pytest.approx(5 / 420)


def test_false_boundary_costs_what_keeps_the_cell_whole() -> None:
    """A false boundary from the true one to the image's edge grows until one pixel is left of it."""
    proposal = two_cells()
    proposal[10, 12:] = False
    assert pixel_error(two_cells(), proposal) == pytest.approx(9 / 420)
    assert warping_error(two_cells(), proposal) == pytest.approx(1 / 420)


def test_new_and_lost_things_cost_by_hand() -> None:
    whole = picture(".....", ".....", ".....", ".....", ".....")
    hole = picture(".....", ".....", "..#..", ".....", ".....")
    assert warping_error(whole, hole) == warping_error(hole, whole) == pytest.approx(1 / 25)
    # A cell of 2 x 2 that is missed shrinks to one pixel, and none is enough to make it.
    cell = picture("####", "#..#", "#..#", "####")
    nothing = picture("####", "####", "####", "####")
    assert warping_error(cell, nothing) == pytest.approx(1 / 16)
    assert warping_error(nothing, cell) == pytest.approx(4 / 16)


def test_diagonal_boundary_parts_cells() -> None:
    """Interior holds together across edges alone: a pixel out of a diagonal boundary lets the cells merge."""
    diagonal = ~np.eye(6, dtype=bool)
    leaking = diagonal.copy()
    leaking[3, 3] = True
    assert warping_error(diagonal, leaking) == pytest.approx(1 / 36)


def test_pixel_error_is_one_less_accuracy() -> None:
    rng = np.random.default_rng(0)
    truth, proposal = rng.random((2, 20, 20)) < 0.5
    assert pixel_error(truth, proposal) == pytest.approx(1 - Confusion.of(truth, proposal).accuracy)


def test_most_errors_of_a_slice_of_the_challenges_size_warp_away() -> None:
    rng = np.random.default_rng(0)
    smooth, other = (gaussian_filter(rng.normal(size=(512, 512)), 6) for _ in range(2))
    truth, proposal = np.abs(smooth) > 0.01, np.abs(smooth + 0.2 * other) > 0.015
    assert 0 < warping_error(truth, proposal) < pixel_error(truth, proposal) / 2


def test_masks_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        warping_error(two_cells(), two_cells()[:5])
    with pytest.raises(ValueError, match="2D"):
        warping_error(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool))
