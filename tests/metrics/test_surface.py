"""Surface distances against brute force, and against what moves them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from medseg.metrics import SurfaceDistances, surface_distances

SHAPES = st.sampled_from([(5, 6), (4, 5, 3), (1, 4, 4)])


@st.composite
def two_masks(draw: st.DrawFn) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    shape = draw(SHAPES)
    masks = [draw(npst.arrays(bool, shape)) for _ in range(2)]
    for mask in masks:
        mask[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
    return masks[0], masks[1]


def surface(mask: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Voxels of the mask with a face neighbour outside it or outside the array, along axes that have neighbours."""
    padded = np.pad(mask, 1)
    long = np.array(mask.shape) > 1
    steps = [s for s in product((-1, 0, 1), repeat=mask.ndim) if sum(map(abs, s)) == 1 and (np.abs(s) <= long).all()]
    return [
        voxel
        for voxel in map(tuple, np.argwhere(mask))
        if not all(padded[tuple(np.add(voxel, step) + 1)] for step in steps)
    ]


def brute_force(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: tuple[float, ...]) -> list[float]:
    """From every surface voxel of a to the nearest of b."""
    return [min(float(np.linalg.norm(np.subtract(p, q) * spacing)) for q in surface(b)) for p in surface(a)]


@settings(max_examples=40, deadline=None)
@given(masks=two_masks(), spacing=st.tuples(*[st.floats(0.3, 5)] * 3))
def test_distances_equal_brute_force(
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]], spacing: tuple[float, ...]
) -> None:
    label, segmentation = masks
    spacing = spacing[: label.ndim]
    found = surface_distances(label, segmentation, spacing=spacing)
    np.testing.assert_allclose(np.sort(found.from_label), np.sort(brute_force(label, segmentation, spacing)), rtol=1e-5)
    np.testing.assert_allclose(
        np.sort(found.from_segmentation), np.sort(brute_force(segmentation, label, spacing)), rtol=1e-5
    )


@given(masks=two_masks(), shear=st.floats(-1, 1))
def test_distances_on_a_sheared_grid_are_those_in_the_world(
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]], shear: float
) -> None:
    label, segmentation = masks
    axes = np.diag((0.7, 1.1, 3.0)[: label.ndim])
    axes[-2, -1] = shear
    lengths = np.linalg.norm(axes, axis=0).tolist()
    found = surface_distances(label, segmentation, spacing=lengths, axes=axes)
    theirs = list(surface(segmentation))
    expected = [min(float(np.linalg.norm(axes @ np.subtract(p, q))) for q in theirs) for p in surface(label)]
    np.testing.assert_allclose(np.sort(found.from_label), np.sort(expected), rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_distances_equal_monais() -> None:
    import torch
    from monai.metrics.utils import get_edge_surface_distance

    rng = np.random.default_rng(0)
    label, segmentation = rng.random((2, 9, 8, 7)) > 0.7
    tensors = (torch.from_numpy(each) for each in (segmentation, label))
    _, theirs, _ = get_edge_surface_distance(*tensors, spacing=[0.7, 1.1, 3.0], symmetric=True)
    ours = surface_distances(label, segmentation, spacing=(0.7, 1.1, 3.0))
    np.testing.assert_allclose(np.sort(ours.from_segmentation), np.sort(theirs[0]), rtol=1e-5)
    np.testing.assert_allclose(np.sort(ours.from_label), np.sort(theirs[1]), rtol=1e-5)


def test_shifted_box_is_as_far_as_it_was_shifted() -> None:
    label = np.zeros((30, 20, 20), dtype=bool)
    label[5:15, 5:15, 5:15] = True
    shifted = np.roll(label, 3, axis=0)
    distances = surface_distances(label, shifted, spacing=(2.0, 1.0, 1.0))
    assert distances.hd95_mm() == pytest.approx(6.0)
    assert distances.surface_dice(6.0) == 1.0
    assert distances.surface_dice(0.5) < 0.8


def test_place_in_a_larger_image_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    label, segmentation = rng.random((2, 6, 6, 6)) > 0.6
    small = surface_distances(np.pad(label, 1), np.pad(segmentation, 1), spacing=(1, 2, 3))
    large = surface_distances(np.pad(label, 9), np.pad(segmentation, 9), spacing=(1, 2, 3))
    np.testing.assert_array_equal(small.from_label, large.from_label)


def test_empty_mask_has_no_distance() -> None:
    with pytest.raises(ValueError, match="empty mask"):
        surface_distances(np.zeros((3, 3), bool), np.ones((3, 3), bool), spacing=(1, 1))


def test_a_picture_stored_as_one_slice_has_contours_and_no_faces() -> None:
    label, segmentation = np.zeros((2, 30, 30), bool)
    label[5:20, 5:20] = True
    segmentation[5:20, 5:24] = True
    flat = surface_distances(label, segmentation, spacing=(1, 1))
    slab = surface_distances(label[..., None], segmentation[..., None], spacing=(1, 1, 7))
    assert slab.hd95_mm() == flat.hd95_mm() == 4
    assert slab.from_label.size == flat.from_label.size


def test_hd95_is_the_worse_direction_and_leaves_a_twentieth_of_its_surface_out() -> None:
    far, near = np.arange(101.0), np.full(7, 3.0)
    assert SurfaceDistances(far, near).hd95_mm() == SurfaceDistances(near, far).hd95_mm() == 95


def test_surface_dice_is_a_share_of_both_surfaces_together() -> None:
    assert SurfaceDistances(np.zeros(30), np.full(10, 5.0)).surface_dice(1.0) == 30 / 40
