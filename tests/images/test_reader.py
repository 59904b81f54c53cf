"""Through MONAI's transforms and back: a label map lies where the scan lies, and nothing is read by guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, LoadImaged, Orientationd, Spacingd

from medseg.errors import ImageError, user_error_in
from medseg.images import Geometry, read_image, write_volume

READER = "medseg.images.reader.Reader"


def load(path: Path) -> MetaTensor:
    loaded: Any = LoadImaged("image", reader=READER, ensure_channel_first=True)({"image": str(path)})
    return loaded["image"]


def test_monai_gets_voxels_and_affine_as_they_are(tmp_path: Path) -> None:
    affine = np.array([[-2.0, 0, 0, 5], [0, 0, 1.5, 6], [0, 1, 0, 7], [0, 0, 0, 1]])
    voxels = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    write_volume(tmp_path / "a.nii.gz", voxels, Geometry((4, 5, 6), affine))
    image = load(tmp_path / "a.nii.gz")
    assert image.shape == (1, 4, 5, 6)
    np.testing.assert_array_equal(image[0].numpy(), voxels)
    np.testing.assert_allclose(image.affine.numpy(), affine)


def test_segmentation_on_the_networks_grid_comes_back_to_the_scans(tmp_path: Path) -> None:
    """A ball drawn after Orientationd and Spacingd lies, inverted, on the same place of the world."""
    affine = np.array([[-0.9, 0, 0, 30.0], [0, 0.1, 2.0, -20], [0, 1.1, -0.2, 15], [0, 0, 0, 1]])
    geometry = Geometry((40, 38, 20), affine)
    write_volume(tmp_path / "a.nii.gz", np.zeros(geometry.shape, np.int16), geometry)
    preprocessing = Compose(
        [
            LoadImaged("image", reader=READER, ensure_channel_first=True),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(1, 1, 1)),
        ]
    )
    data: Any = preprocessing({"image": str(tmp_path / "a.nii.gz")})
    centre = geometry.corners().mean(axis=0)
    ball = ball_around(centre, np.asarray(data["image"].affine), data["image"].shape[1:])
    data["pred"] = MetaTensor(ball[None].astype(np.float32))
    back: Any = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False)(data)["pred"]
    expected = ball_around(centre, geometry.affine, geometry.shape)
    found = np.asarray(back[0]) > 0.5
    assert found.shape == geometry.shape
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.97


def ball_around(centre: Any, affine: Any, shape: Any) -> Any:
    index = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ index + affine[:3, 3:]
    return (np.linalg.norm(world.T - centre, axis=1) < 9).reshape(shape)


def test_damaged_file_is_an_error_and_not_read_by_another_reader(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 9999, (20, 20, 20)).astype(np.int16)
    write_volume(tmp_path / "a.nii.gz", volume, Geometry((20, 20, 20), np.eye(4)))
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception) as caught:
        load(tmp_path / "a.nii.gz")
    assert isinstance(user_error_in(caught.value), ImageError)


def test_dicom_series_reaches_monai_without_identifiers(data_dir: Path) -> None:
    series = data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom"
    image = load(series)
    np.testing.assert_array_equal(image[0].numpy(), read_image(series).array)
    assert image.meta["modality"] == "MR"
    assert set(image.meta) == {
        "affine",
        "volume_affine",
        "original_affine",
        "spatial_shape",
        "original_channel_dim",
        "space",
        "modality",
        "format",
        "spatial_dims",
        "warnings",
        "filename_or_obj",
    }
