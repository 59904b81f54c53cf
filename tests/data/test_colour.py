"""Colour spaces against the standard library's, and what a picture carries with it."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from monai.data import MetaTensor
from monai.transforms import Flip

from medseg.data.colour import ColourSpaced
from medseg.errors import ConfigError
from medseg.images import read_image

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=4)
PICTURES = SHAPES.flatmap(lambda shape: arrays(np.uint8, (3, *shape)))


def converted(picture: Any, space: str) -> Any:
    return ColourSpaced("image", space)({"image": picture})["image"]


@given(PICTURES)
def test_hsv_is_the_standard_librarys(picture: Any) -> None:
    found = converted(picture, "hsv").numpy()
    for pixel, rgb in zip(found.reshape(3, -1).T / 255, picture.reshape(3, -1).T / 255, strict=True):
        np.testing.assert_allclose(pixel, colorsys.rgb_to_hsv(*rgb), atol=1e-6)


@given(PICTURES)
def test_grey_is_the_luma_in_three_channels_and_luma_in_one(picture: Any) -> None:
    luma = 0.299 * picture[0].astype(float) + 0.587 * picture[1] + 0.114 * picture[2]
    grey = converted(picture, "grey").numpy()
    assert grey.shape == picture.shape and converted(picture, "luma").shape == (1, *picture.shape[1:])
    for channel in (*grey, converted(picture, "luma").numpy()[0]):
        np.testing.assert_allclose(channel, luma, atol=1e-3)


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, (1, *shape))))
def test_picture_of_one_channel_is_its_own_luma(picture: Any) -> None:
    np.testing.assert_array_equal(converted(picture, "luma"), picture)
    np.testing.assert_array_equal(converted(picture, "grey"), picture.repeat(3, axis=0))


@given(PICTURES)
def test_rgb_stays(picture: Any) -> None:
    np.testing.assert_array_equal(converted(picture, "rgb"), picture)


@pytest.mark.parametrize("space", ["rgb", "hsv", "grey", "luma"])
def test_grid_metadata_and_earlier_transforms_are_kept(space: str) -> None:
    """Or predictions could not be brought back to the picture's own grid."""
    picture = MetaTensor(
        torch.rand(3, 4, 5) * 255, affine=torch.diag(torch.tensor([2.0, 3, 1])), meta={"format": "PNG"}
    )
    flip = Flip(spatial_axis=0)
    flipped: Any = flip(picture)
    before = flipped.clone()
    data: Any = {"image": flipped, "case": "a"}
    changed = ColourSpaced("image", space)(data)
    found = changed["image"]
    assert isinstance(found, MetaTensor) and found.dtype == torch.float32 and found.is_contiguous()
    assert torch.equal(found.affine, flipped.affine) and found.meta["format"] == "PNG"
    assert found.applied_operations == flipped.applied_operations != []
    assert changed["case"] == "a" and data["image"] is flipped and torch.equal(flipped, before)
    back: Any = flip.inverse(found)
    assert torch.equal(back.affine, picture.affine)


def test_other_space_is_an_error_at_once() -> None:
    with pytest.raises(ConfigError, match=r"^colour space 'lab': expected rgb, hsv, grey or luma$"):
        ColourSpaced("image", "lab")


@pytest.mark.parametrize(("space", "channels"), [("hsv", 1), ("hsv", 4), ("grey", 2), ("luma", 4)])
def test_picture_of_other_channels_is_an_error(space: str, channels: int) -> None:
    with pytest.raises(ConfigError, match=rf"^colour space {space} of a picture of {channels} channels: expected"):
        converted(np.zeros((channels, 4, 4), np.uint8), space)


@pytest.mark.parametrize("values", [(0.0, 300.0), (-1.0, 255.0)])
def test_values_that_are_no_colours_are_an_error(values: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"^colour space hsv of values from .*: expected 0 to 255$"):
        converted(np.resize(np.array(values), (3, 4, 4)), "hsv")


def test_missing_key_is_an_error() -> None:
    with pytest.raises(KeyError):
        ColourSpaced("image", "hsv")({})


def test_purple_nuclei_of_a_real_smear_stand_out_in_saturation(data_dir: Path) -> None:
    folder = data_dir / "wbc_1"
    picture = np.moveaxis(read_image(folder / "images" / "001.bmp").array[:, :, 0], -1, 0)
    nucleus = read_image(folder / "labels" / "001.png").array[:, :, 0] == 255
    saturation = converted(picture, "hsv")[1].numpy()
    assert saturation[nucleus].mean() > 1.5 * saturation[~nucleus].mean()
