"""The way back to the scan's grid, piece by piece, is that of MONAI's `Invertd`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    CropForegroundd,
    DivisiblePadd,
    Invertd,
    Orientationd,
    Resized,
    Spacingd,
    SpatialPadd,
)
from scipy.spatial.transform import Rotation

from medseg.inference.restoring import source_grid
from medseg.inference.restoring.decision import Decision
from medseg.inference.restoring.label_map import Drawing
from medseg.inference.restoring.source_grid import SourceGrid
from medseg.inference.windows.pieces import Piece
from medseg.types import LabelClass

CLASSES = [LabelClass(value=1, name="spleen"), LabelClass(value=2, name="liver")]

STEPS = [
    CropForegroundd("image", source_key="image", select_fn=lambda x: x >= x.mean(), margin=2, allow_smaller=False),
    CropForegroundd("image", source_key="image", select_fn=lambda x: x >= x.mean(), allow_smaller=True),
    SpatialPadd("image", [24, 24, 24]),
    DivisiblePadd("image", 8),
]


@st.composite
def preprocessed(draw: st.DrawFn) -> tuple[Compose, dict[str, Any]]:
    """A random scan after orientation, resampling, and perhaps cropping and padding."""
    signs = draw(st.tuples(*[st.sampled_from([1, -1])] * 3))
    order = draw(st.permutations(range(3)))
    tilt = draw(st.sampled_from([0.0, 0.2]))
    spacing = draw(st.tuples(*[st.floats(0.5, 3)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [tilt, -tilt, tilt]).as_matrix()
    affine[:3, :3] = affine[:3, :3] @ np.eye(3)[:, order] @ np.diag(signs) @ np.diag(spacing)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-100, 100)] * 3))
    shape = draw(st.tuples(*[st.integers(2, 20)] * 3))
    pixdim = draw(st.tuples(*[st.floats(0.8, 2.5)] * 3))
    transform = Compose(
        [
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=pixdim, mode="bilinear"),
            *draw(st.lists(st.sampled_from(STEPS), max_size=3)),
        ]
    )
    image = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(1, *shape)).astype(np.float32)
    return transform, transform({"image": MetaTensor(image, affine=affine)})


@settings(max_examples=50)
@given(preprocessed(), st.lists(st.integers(0, 40), max_size=3))
def test_restored_logits_are_those_of_monais_inverse(
    preprocessed: tuple[Compose, dict[str, Any]], cuts: list[int]
) -> None:
    transform, data = preprocessed
    size = data["image"].shape[1:]
    logits = torch.randn(3, *size)
    data["pred"] = MetaTensor(logits.clone())
    invert = Invertd("pred", transform=transform, orig_keys="image", nearest_interp=False, to_tensor=True)
    theirs = invert(data)["pred"].as_tensor()

    grid = SourceGrid.of(data["image"])
    assert grid is not None and grid.shape == tuple(theirs.shape[1:])
    ours = torch.full_like(theirs, torch.nan)
    ends = sorted({0, size[0], *(cut for cut in cuts if cut < size[0])})
    for begin, end in pairwise(ends):
        held = slice(begin, min(end + 1, size[0]))
        piece = Piece(logits[:, held], (begin, 0, 0), (slice(begin, end), slice(0, size[1]), slice(0, size[2])))
        for box, part in grid.restored(piece):
            assert ours[(slice(None), *box)].isnan().all(), "every voxel is written once"
            ours[(slice(None), *box)] = part
    assert torch.allclose(ours, theirs, atol=1e-3)


@settings(max_examples=50)
@given(preprocessed(), st.integers(0, 2**16), st.sampled_from([60, 4 * 2**20]))
def test_what_is_drawn_is_the_largest_of_all_logits_though_most_are_never_looked_at(
    preprocessed: tuple[Compose, dict[str, Any]], seed: int, working_set: int
) -> None:
    _, data = preprocessed
    size = data["image"].shape[1:]
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, *size, generator=random)
    logits[0] += torch.where(torch.rand(size, generator=random) < 0.9, 3.0, -1.0)
    grid = SourceGrid.of(data["image"])
    assert grid is not None
    with mock.patch.object(source_grid, "_WORKING_SET", {"cpu": working_set}):
        drawing = Drawing(grid, Decision(), CLASSES)
        drawing.add(Piece.whole(logits))
        expected = torch.zeros(3, *grid.shape)
        for box, part in grid.restored(Piece.whole(logits)):
            expected[(slice(None), *box)] = part
    assert np.array_equal(drawing.labels, expected.argmax(dim=0).numpy())


def test_parts_of_nothing_but_background_are_not_interpolated() -> None:
    image = Spacingd("image", [2, 2, 2])({"image": MetaTensor(torch.rand(1, 32, 32, 32))})["image"]
    grid, logits = SourceGrid.of(image), torch.zeros(2, *image.shape[1:])
    assert grid is not None
    logits[1, :3, :3, :3] = 1
    whole = Piece.whole(logits)
    with mock.patch.object(source_grid, "_WORKING_SET", {"cpu": 8 * 8**3}):
        wanted = Drawing(grid, Decision(), CLASSES[:1])._wanted(whole)
        interpolated = [[each.stop for each in box] for box, _ in grid.restored(whole, wanted)]
    assert interpolated == [[8, 8, 8]]


@pytest.mark.parametrize(
    "transform",
    [
        Resized("image", [8, 8, 8], mode="area"),
        Spacingd("image", pixdim=[1, 1, 1], mode=3),
        Spacingd("image", pixdim=[1, 1, 1], mode="bilinear", diagonal=True),
    ],
)
def test_what_does_not_keep_axes_or_is_not_linear_is_left_to_monai(transform: Any) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", 0.3).as_matrix() * 2
    image = transform({"image": MetaTensor(torch.rand(1, 9, 10, 11), affine=affine)})["image"]
    assert SourceGrid.of(image) is None


def test_picture_without_any_transform_stays_where_it_is() -> None:
    logits = torch.randn(2, 7, 5)
    grid = SourceGrid.of(MetaTensor(torch.zeros(1, 7, 5)))
    assert grid is not None
    parts = list(grid.restored(Piece.whole(logits)))
    assert all(torch.equal(part, logits[(slice(None), *box)]) for box, part in parts)
