"""A grid's place in the world, by properties of random oblique affines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medseg.images import Geometry


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Oblique, anisotropic, flipped, anywhere within half a metre."""
    shape = tuple(draw(st.integers(1, 6)) for _ in range(3))
    angles = [draw(st.floats(-180, 180)) for _ in range(3)]
    spacing = np.array([draw(st.floats(0.3, 6)) for _ in range(3)])
    flips = np.array([draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)])
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing * flips
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return Geometry(shape, affine)


@given(geometries())
def test_spacing_and_volume_do_not_depend_on_the_direction(geometry: Geometry) -> None:
    assert np.prod(geometry.spacing) / 1000 == pytest.approx(geometry.voxel_volume_ml)


@given(geometries(), st.integers(0, 2))
def test_flipped_grid_has_the_same_corners_but_does_not_agree(geometry: Geometry, axis: int) -> None:
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1, geometry.shape[axis] - 1
    flipped = Geometry(geometry.shape, geometry.affine @ flip)
    apart = geometry.spacing[axis] * (geometry.shape[axis] - 1)
    assert flipped.agrees_with(geometry) == (apart < 1e-3)
    np.testing.assert_allclose(
        np.sort(flipped.corners().round(6), axis=0), np.sort(geometry.corners().round(6), axis=0), atol=1e-5
    )


@given(geometries(), st.floats(0.002, 5))
def test_shift_beyond_the_tolerance_is_seen_and_told(geometry: Geometry, shift: float) -> None:
    moved = geometry.affine.copy()
    moved[0, 3] += shift
    other = Geometry(geometry.shape, moved)
    assert not geometry.agrees_with(other)
    assert geometry.agrees_with(other, tolerance_mm=shift * 1.01)
    assert f"{shift:.3g} mm apart" in geometry.difference(other)


def test_orientation_names_where_the_indices_run_to() -> None:
    assert Geometry((2, 2, 2), np.eye(4)).orientation == "RAS"
    assert Geometry((2, 2, 2), np.diag([-1.0, -1.0, 1.0, 1.0])).orientation == "LPS"


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((0, 2, 2), np.eye(4)),
        ((2, 2), np.eye(4)),
        ((2, 2, 2), np.diag([0.0, 1.0, 1.0, 1.0])),
        ((2, 2, 2), np.full((4, 4), np.nan)),
        ((2, 2, 2), np.eye(3)),
    ],
)
def test_what_is_no_grid_is_refused(shape: Any, affine: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match=r"shape|affine"):
        Geometry(shape, affine)
