"""The deformation of the paper: what moves where, alike for image and label, and by how much."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Rand2DElasticd
from scipy.ndimage import map_coordinates

from medseg.data.elastic import RandGridElasticd, displacements
from medseg.errors import ConfigError


def picture(height: int = 60, width: int = 45) -> torch.Tensor:
    return torch.rand(1, height, width, generator=torch.Generator().manual_seed(0))


def ramps(height: int = 60, width: int = 45) -> torch.Tensor:
    """Two channels: the row and the column of every pixel."""
    return torch.stack(torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij"))


def test_without_sigma_nothing_moves() -> None:
    data = {"image": picture(), "label": (picture() > 0.5).to(torch.uint8)}
    bent = RandGridElasticd(["image", "label"], sigma=0, mode=["bilinear", "nearest"])(data)
    assert torch.allclose(bent["image"], data["image"], atol=1e-6)
    assert torch.equal(bent["label"], data["label"].float())


def test_probability_of_0_leaves_all_as_it_is() -> None:
    data = {"image": picture(), "label": (picture() > 0.5).to(torch.uint8)}
    same = RandGridElasticd(["image", "label"], prob=0)(data)
    for key, value in data.items():
        assert torch.equal(same[key], value.float())


@pytest.mark.parametrize("prob", [0, 1])
def test_kind_of_tensor_is_the_same_bent_or_not(prob: float) -> None:
    for value in (picture().to(torch.uint8), picture().double(), picture().numpy()):
        (bent,) = RandGridElasticd("image", prob=prob)({"image": value}).values()
        assert isinstance(bent, MetaTensor) and bent.dtype == torch.float32


def test_pixels_come_from_where_the_displacements_point() -> None:
    """Sampled by SciPy at place + displacement, inside of the image."""
    transform = RandGridElasticd("image", sigma=4).set_random_state(3)
    bent = transform({"image": picture()})["image"]
    moved = displacements(transform._vectors, (60, 45)).numpy()
    places = ramps().double().numpy() + moved
    expected = map_coordinates(picture()[0].double().numpy(), places, order=1)
    inside = ((places >= 0) & (places <= np.array([59, 44])[:, None, None])).all(axis=0)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(bent[0].numpy()[inside], expected[inside], atol=1e-5)


def test_displacements_meet_the_vectors_at_the_points_of_the_grid() -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 3, 3))
    moved = displacements(vectors, (61, 41)).numpy()
    assert moved.shape == (2, 61, 41)
    np.testing.assert_allclose(moved[:, ::30, ::20], vectors, atol=1e-12)
    np.testing.assert_allclose(displacements(np.full((2, 3, 3), 7.0), (16, 20)).numpy(), 7, atol=1e-12)


def test_monais_own_bends_an_image_even_at_a_magnitude_of_0() -> None:
    """Why there is another: if this fails one day, `Rand2DElasticd` may do."""
    theirs = Rand2DElasticd("image", spacing=(256, 256), magnitude_range=(0, 0), prob=1)
    moved = theirs({"image": ramps(512, 512)})["image"] - ramps(512, 512)
    assert float(moved.abs().max()) == pytest.approx(12.3, abs=0.1)


def test_image_and_label_are_bent_alike_and_labels_keep_their_values() -> None:
    label = torch.tensor([0.0, 2, 5])[torch.randint(3, (1, 60, 45), generator=torch.Generator().manual_seed(1))]
    data = {"image": ramps(), "label": ramps(), "classes": label}
    bent = RandGridElasticd(list(data), mode=["bilinear", "nearest", "nearest"]).set_random_state(0)(data)
    assert set(bent["classes"].unique().tolist()) == {0, 2, 5}
    assert torch.equal(data["image"], ramps())
    inside = (bent["image"] > 1) & (bent["image"] < torch.tensor([58.0, 43])[:, None, None])
    assert (bent["image"] - bent["label"])[:, inside.all(dim=0)].abs().max() <= 0.5 + 1e-4
    assert (bent["image"] - ramps()).abs().max() > 2


def test_same_seed_same_deformation() -> None:
    def draw(seed: int) -> torch.Tensor:
        transform = Compose([RandGridElasticd("image", prob=0.9)]).set_random_state(seed)
        return torch.stack([transform({"image": picture()})["image"] for _ in range(2)])

    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    assert not torch.equal(*draw(1))


def test_vectors_are_gaussian_of_sigma_pixels() -> None:
    transform = RandGridElasticd("image").set_random_state(0)
    drawn = []
    for _ in range(2000):
        transform.randomize()
        drawn.append(transform._vectors)
    vectors = np.stack(drawn)
    assert vectors.shape == (2000, 2, 3, 3)
    assert abs(vectors.mean()) < 0.3 and vectors.std() == pytest.approx(10, rel=0.02)
    assert (abs(vectors) < 10).mean() == pytest.approx(0.683, abs=0.01)  # of a Gaussian, within one sigma
    correlations = np.corrcoef(vectors.reshape(2000, 18).T) - np.eye(18)
    assert abs(correlations).max() < 0.1  # 4.5 times their standard deviation


def test_what_lies_beyond_is_mirrored_or_empty() -> None:
    for padding_mode, empty in (("reflection", False), ("zeros", True)):
        transform = RandGridElasticd("image", sigma=30, padding_mode=padding_mode).set_random_state(0)
        bent = transform({"image": torch.ones(1, 60, 45)})["image"]
        assert bool((bent < 0.01).any()) == empty


def test_place_in_the_world_and_missing_keys() -> None:
    image = MetaTensor(picture(), affine=torch.diag(torch.tensor([2.0, 3, 4, 1])))
    transform = RandGridElasticd(["image", "label"], mode=["bilinear", "nearest"], allow_missing_keys=True)
    bent = transform({"image": image})
    assert set(bent) == {"image"} and torch.equal(bent["image"].affine, image.affine)
    assert transform({}) == {}


def test_what_does_not_fit_is_refused() -> None:
    for grid in ((3,), (3, 1), (3, 3, 1), (3, 3, 3, 3)):
        with pytest.raises(ConfigError, match=r"^elastic grid of \[.*\] points: expected two or three numbers"):
            RandGridElasticd("image", grid=grid)
    for sigma in (-1, (1, -1), (1, 2, 3), float("nan")):
        with pytest.raises(ConfigError, match=r"^elastic sigma .*: expected 0 pixels or more, one number or 2$"):
            RandGridElasticd("image", sigma=sigma)
    with pytest.raises(ConfigError, match=r"^elastic deformation of .*\(4, 4\).*: expected one size"):
        RandGridElasticd(["a", "b"])({"a": torch.zeros(1, 4, 4), "b": torch.zeros(1, 4, 5)})
    with pytest.raises(ConfigError, match=r"^elastic deformation of .*\(4, 4, 4\)}: expected one size of 2 axes"):
        RandGridElasticd("a")({"a": torch.zeros(1, 4, 4, 4)})
    with pytest.raises(ConfigError, match=r"^elastic deformation of .*\(4, 4\)}: expected one size of 3 axes"):
        RandGridElasticd("a", grid=(2, 2, 2))({"a": torch.zeros(1, 4, 4)})


def test_volume_is_sampled_where_the_displacements_point() -> None:
    """By SciPy at place + displacement, inside of the volume."""
    volume = torch.rand(1, 20, 24, 16, generator=torch.Generator().manual_seed(0))
    transform = RandGridElasticd("image", grid=(3, 4, 2), sigma=(2, 2, 0.5)).set_random_state(3)
    bent = transform({"image": volume})["image"]
    moved = displacements(transform._vectors, (20, 24, 16)).numpy()
    places = np.stack(np.meshgrid(*map(np.arange, (20, 24, 16)), indexing="ij")) + moved
    expected = map_coordinates(volume[0].double().numpy(), places, order=1)
    inside = ((places >= 0) & (places <= np.array([19, 23, 15])[:, None, None, None])).all(axis=0)
    assert inside.mean() > 0.5 and moved.std() > 0.3
    np.testing.assert_allclose(bent[0].numpy()[inside], expected[inside], atol=1e-5)


def test_displacements_of_a_volume_meet_the_points_and_are_those_of_images_where_slices_are_alike() -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 3, 3, 4))
    moved = displacements(vectors, (11, 21, 31)).numpy()
    assert moved.shape == (3, 11, 21, 31)
    np.testing.assert_allclose(moved[:, ::5, ::10, ::10], vectors, atol=1e-12)
    alike = np.repeat(vectors[..., :1], 4, axis=3)
    flat = displacements(alike[:2, ..., 0], (11, 21)).numpy()
    np.testing.assert_allclose(
        displacements(alike, (11, 21, 31)).numpy()[:2], flat[..., None].repeat(31, 3), atol=1e-12
    )
    turned = displacements(np.moveaxis(vectors, 1, 3), (21, 31, 11)).numpy()
    np.testing.assert_allclose(np.moveaxis(turned, 3, 1), moved, atol=1e-12)


def test_sigma_of_every_axis_is_its_own() -> None:
    transform = RandGridElasticd("image", grid=(3, 3, 3), sigma=(8, 4, 1)).set_random_state(0)
    drawn = []
    for _ in range(1000):
        transform.randomize()
        drawn.append(transform._vectors)
    assert np.stack(drawn).std(axis=(0, 2, 3, 4)) == pytest.approx([8, 4, 1], rel=0.02)
