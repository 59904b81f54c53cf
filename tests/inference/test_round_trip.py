"""A label sent through a bundle's preprocessing, windows and back is the label on the source grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import Dataset
from monai.inferers import Inferer
from monai.transforms import Compose
from scipy.spatial.transform import Rotation

from medseg.bundle import trained
from medseg.bundle.run import find_bundle
from medseg.images import Geometry, read_image, write_volume
from medseg.inference import Predictor, to_source_grid

ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
LEVELS = 3


class Identity(torch.nn.Module):
    """Gives every voxel the class whose level its intensity is nearest to."""

    def __init__(self, levels: torch.Tensor) -> None:
        super().__init__()
        self.levels = levels.reshape(1, -1, 1, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return -((image - self.levels) ** 2)


@dataclass(frozen=True)
class Bundle:
    """What of a bundle's training config prediction takes."""

    preprocessing: Compose
    inferer: Inferer
    metadata: Mapping[str, Any]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    parser = trained(str(find_bundle("hippocampus_mri_3d")))
    return Bundle(*(parser.get_parsed_content(each) for each in ("preprocessing", "inferer")), parser.get("_meta_"))


def send_through(bundle: Bundle, label: np.ndarray, geometry: Geometry, folder: Path) -> np.ndarray:
    """Write a label map as if it were a scan, segment it by the identity, read what was written."""
    preprocessing = bundle.preprocessing
    scan = folder / "scan.nii.gz"
    write_volume(scan, label, geometry)
    image = preprocessing({"image": str(scan)})["image"]
    predictor = Predictor(
        device="cpu",
        dataset=Dataset([{"image": str(scan), "case": "found"}], transform=preprocessing),
        network=Identity(torch.linspace(float(image.min()), float(image.max()), LEVELS)),
        checkpoint=None,
        inferer=bundle.inferer,
        postprocessing=to_source_grid(preprocessing, metadata=bundle.metadata),
        metadata=bundle.metadata,
        output_dir=str(folder / "out"),
        precision="fp32",
    )
    predictor.run()
    found = read_image(folder / "out" / "found.nii.gz")
    assert found.geometry.agrees_with(geometry)
    return found.array


def geometry_of(shape: tuple[int, int, int], spacing: Any, seed: int, order: Any) -> Geometry:
    axes, signs = order
    linear = Rotation.random(rng=seed).as_matrix()[:, list(axes)] * np.array(signs) * np.array(spacing)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, np.random.default_rng(seed).uniform(-100, 100, 3)
    return Geometry(shape, affine)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.tuples(*[st.integers(8, 50)] * 3), seed=st.integers(0, 999), order=st.sampled_from(ORDERS))
def test_every_voxel_comes_back_where_nothing_is_resampled(
    bundle: Bundle, tmp_path: Path, shape: tuple[int, int, int], seed: int, order: Any
) -> None:
    geometry = geometry_of(shape, (1, 1, 1), seed, order)
    label = np.random.default_rng(seed).integers(0, LEVELS, shape).astype(np.uint8)
    label.flat[:LEVELS] = range(LEVELS)
    np.testing.assert_array_equal(send_through(bundle, label, geometry, tmp_path), label)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spacing=st.tuples(*[st.floats(0.7, 3.0)] * 3), seed=st.integers(0, 999), order=st.sampled_from(ORDERS))
def test_structures_stay_where_they_are_through_resampling(
    bundle: Bundle, tmp_path: Path, spacing: tuple[float, float, float], seed: int, order: Any
) -> None:
    geometry = geometry_of((30, 26, 22), spacing, seed, order)
    index = np.moveaxis(np.indices(geometry.shape), 0, -1)
    label = np.zeros(geometry.shape, np.uint8)
    label[(np.abs(index - (14, 13, 10)) < (8, 7, 6)).all(axis=-1)] = 1
    label[(np.abs(index - (14, 13, 10)) < (4, 4, 3)).all(axis=-1)] = 2
    found = send_through(bundle, label, geometry, tmp_path)
    for value in (1, 2):
        same = ((found == value) & (label == value)).sum() * 2 / ((found == value).sum() + (label == value).sum())
        assert same > 0.85
    centres = [np.argwhere(each == 2).mean(axis=0) * geometry.spacing for each in (found, label)]
    assert np.linalg.norm(centres[0] - centres[1]) < 0.5  # mm
