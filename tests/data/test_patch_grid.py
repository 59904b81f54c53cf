"""Patches cover every pixel, lie where they are said to, and give the image back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor
from monai.inferers import PatchInferer

from medseg.data.patch_grid import GridPatchesd, GridSplitter, PatchGrid, PatchMean
from medseg.errors import ConfigError
from medseg.images import read_image

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=3)


def image_of(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def along(starts: list[tuple[int, ...]], axis: int) -> list[int]:
    return sorted({start[axis] for start in starts})


def by_steps(draw: Any, size: list[int]) -> dict[str, list[int]]:
    return {"steps": [draw(st.integers(1, length)) for length in size]}


def by_counts(draw: Any, size: list[int]) -> dict[str, list[int]]:
    return {"counts": [draw(st.integers(1, 9)) for _ in size]}


@given(data=st.data(), size=SIZES, by=st.sampled_from([by_steps, by_counts]))
def test_patches_cover_every_pixel_and_stay_inside(data: Any, size: list[int], by: Any) -> None:
    grid = PatchGrid.of(size, **by(data.draw, size))
    shape = [length + data.draw(st.integers(0, 40)) for length in size]
    if grid.counts is not None:
        assume(all(n * length >= whole for n, length, whole in zip(grid.counts, size, shape, strict=True)))
    covered = np.zeros(shape, bool)
    for start in grid.starts(shape):
        window = tuple(slice(first, first + length) for first, length in zip(start, size, strict=True))
        assert covered[window].shape == tuple(size)
        covered[window] = True
    assert covered.all()


@given(data=st.data(), size=SIZES)
def test_neighbours_are_no_farther_apart_than_the_steps_and_even(data: Any, size: list[int]) -> None:
    steps = by_steps(data.draw, size)["steps"]
    shape = [length + data.draw(st.integers(0, 60)) for length in size]
    starts = PatchGrid.of(size, steps=steps).starts(shape)
    for axis, step in enumerate(steps):
        places = along(starts, axis)
        assert (places[0], places[-1]) == (0, shape[axis] - size[axis])
        gaps = np.diff(places)
        assert (gaps <= step).all() and (len(gaps) == 0 or gaps.max() - gaps.min() <= 1)
        assert len(gaps) == -(-(shape[axis] - size[axis]) // step), "no more patches than it takes"


def test_15_patches_of_one_image_are_3_columns_of_5() -> None:
    starts = PatchGrid.of([10, 8], counts=[3, 5]).starts([24, 32])
    assert starts == [(column, row) for column in (0, 7, 14) for row in (0, 6, 12, 18, 24)]


def test_one_patch_where_the_image_is_as_large() -> None:
    for grid in (PatchGrid.of([7], counts=[4]), PatchGrid.of([7], steps=[2])):
        assert grid.starts([7]) == [(0,)]


@given(
    data=st.data(),
    size=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    by=st.sampled_from([by_steps, by_counts]),
    batch=st.integers(1, 3),
)
def test_merged_patches_are_the_image_again(data: Any, size: list[int], by: Any, batch: int) -> None:
    """Of any size, smaller than a patch too."""
    options = by(data.draw, size)
    most = [n * length for n, length in zip(options.get("counts", [4] * len(size)), size, strict=True)]
    shape = (batch, 2, *(data.draw(st.integers(1, each)) for each in most))
    image = (image_of(shape) * 100).round()  # whole numbers: their sums, and so their means, are exact
    inferer = PatchInferer(GridSplitter(size, **options), merger_cls=PatchMean)
    assert torch.equal(inferer(image, lambda patches: patches), image)


def test_mean_is_taken_on_the_device_of_the_patches() -> None:
    inferer = PatchInferer(GridSplitter([4, 1], counts=[2, 1]), merger_cls=PatchMean)
    elsewhere = torch.zeros(1, 1, 6, 1, device="meta")
    assert inferer(elsewhere, lambda patches: patches).device == elsewhere.device


def test_overlapping_predictions_are_averaged() -> None:
    """Two patches of 4 that share two pixels of 6: the network says 0 for one and 1 for the other."""
    answers = iter((0.0, 1.0))
    inferer = PatchInferer(GridSplitter([4, 1], counts=[2, 1]), merger_cls=PatchMean)
    merged = inferer(torch.zeros(1, 1, 6, 1), lambda patches: torch.full_like(patches, next(answers)))
    assert merged.flatten().tolist() == [0, 0, 0.5, 0.5, 1, 1]


@given(data=st.data(), size=st.lists(st.integers(1, 6), min_size=2, max_size=2), by=st.sampled_from([by_steps]))
def test_training_and_prediction_see_the_same_patches(data: Any, size: list[int], by: Any) -> None:
    options = by(data.draw, size)
    image = image_of((3, *(data.draw(st.integers(1, 15)) for _ in size)))
    trained = [each["image"] for each in GridPatchesd(["image"], size, **options)({"image": image})]
    predicted = [patch[0] for patch, _ in GridSplitter(size, **options)(image[None])]
    assert len(trained) == len(predicted)
    assert all(torch.equal(one, other) for one, other in zip(trained, predicted, strict=True))


def test_patches_of_image_and_label_lie_on_each_other_and_share_the_rest() -> None:
    label = torch.arange(24 * 32).reshape(1, 24, 32)
    patches = GridPatchesd(["image", "label"], [10, 8], counts=[3, 5])(
        {"image": label.repeat(3, 1, 1) * 2.0, "label": label, "case": "a"}
    )
    assert len(patches) == 15
    for patch in patches:
        assert patch["image"].shape == (3, 10, 8) and patch["case"] == "a"
        assert torch.equal(patch["image"][0], patch["label"][0] * 2.0)
    assert [int(patch["label"][0, 0, 0]) for patch in patches[:6]] == [0, 6, 12, 18, 24, 7 * 32]


def test_image_smaller_than_a_patch_is_padded_with_zeros_behind() -> None:
    image = image_of((1, 3, 9))
    (patch,) = GridPatchesd(["image"], [5, 9], counts=[1, 1])({"image": image})
    assert torch.equal(patch["image"][:, :3], image) and not patch["image"][:, 3:].any()


def test_loader_takes_the_patches_apart_and_the_case_is_left_as_it_was() -> None:
    case: dict[str, Any] = {"image": MetaTensor(image_of((1, 12, 12)), affine=torch.eye(4)), "case": "a"}
    cut = GridPatchesd(["image"], [4, 4], steps=[4, 4])
    (batch,) = DataLoader(Dataset([case], cut), batch_size=1)
    assert batch["image"].shape == (9, 1, 4, 4) and batch["case"] == ["a"] * 9
    assert case["image"].shape == (1, 12, 12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"counts": [2, 2], "steps": [2, 2]},
        {"counts": [2]},
        {"steps": [2, 2, 2]},
        {"counts": [0, 2]},
        {"steps": [0, 2]},
    ],
)
@pytest.mark.parametrize("make", [PatchGrid.of, GridSplitter, lambda size, **given: GridPatchesd(["a"], size, **given)])
def test_grid_without_one_number_for_each_axis_is_an_error(make: Any, options: dict[str, list[int]]) -> None:
    with pytest.raises(ConfigError, match=r"^patch grid of size \[4, 4\]: give counts or steps, a number for each"):
        make([4, 4], **options)


@pytest.mark.parametrize("size", [[], [0], [-3]])
def test_patch_without_pixels_is_an_error(size: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"^patch grid of size \["):
        PatchGrid.of(size, counts=[1] * len(size))


def test_steps_that_would_leave_gaps_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^patch grid: steps \[4, 5\] are wider than the patches, \[4, 4\]$"):
        PatchGrid.of([4, 4], steps=[4, 5])


def test_too_few_patches_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^patch grid: 2 patches of 4 pixels cannot cover 9; take more or larger$"):
        PatchGrid.of([4, 4], counts=[2, 2]).starts([8, 9])


def test_real_picture_comes_back_from_its_patches(data_dir: Path) -> None:
    stored = read_image(data_dir / "wbc_1" / "images" / "001.bmp").array[:, :, 0]
    image = torch.from_numpy(np.moveaxis(stored, -1, 0).astype(np.float32))[None]
    for size in ([48, 48], [200, 50]):
        inferer = PatchInferer(GridSplitter(size, steps=[20, 20]), merger_cls=PatchMean)
        assert torch.equal(inferer(image, lambda patches: patches), image)
