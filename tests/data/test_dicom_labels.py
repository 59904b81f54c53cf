"""Datasets whose labels are DICOM SEG, or whose images are several channels, are checked and given to MONAI rightly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import LoadImaged

from medseg.data import check_cases, find_cases, load_labelled, load_split
from medseg.errors import DatasetError
from medseg.images import Geometry, write_dicom_seg, write_dicom_series, write_labels, write_volume
from medseg.types import LabelClass

GRID = Geometry((6, 5, 8), np.diag([-1.0, -1.0, 2.0, 1.0]))
CLASSES = {1: "liver", 2: "spleen"}
METADATA = {
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "liver", "2": "spleen"}}}},
    "classes": {"liver": {"colour": [255, 0, 0]}, "spleen": {"colour": [0, 255, 0]}},
}


def labels() -> np.ndarray:
    drawn = np.zeros(GRID.shape, np.uint8)
    drawn[1:3, 1:3, 2:5], drawn[4, 4, 3:7] = 1, 2
    return drawn


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Ten cases: a DICOM series each, with a DICOM SEG on some of its slices."""
    for number in range(10):
        series = tmp_path / "images" / f"case{number}"
        write_dicom_series(series, np.zeros(GRID.shape, np.int16), GRID, modality="CT", seed=str(number))
        (tmp_path / "labels").mkdir(exist_ok=True)
        write_dicom_seg(
            tmp_path / "labels" / f"case{number}.dcm",
            labels(),
            source=series,
            classes=[LabelClass(value, name) for value, name in CLASSES.items()],
            algorithm_name="test",
            algorithm_version="1",
        )
    return tmp_path


def test_a_segmentation_reaches_monai_on_the_grid_of_its_image(dataset: Path) -> None:
    split = load_split(str(dataset), metadata=METADATA, fold=0)
    load: Any = LoadImaged(["image", "label"], reader="medseg.images.reader.Reader", ensure_channel_first=True)
    data = load(split.training[0])
    assert data["image"].shape == data["label"].shape == (1, *GRID.shape)
    np.testing.assert_array_equal(data["label"][0].numpy(), labels())
    np.testing.assert_allclose(data["label"].affine, data["image"].affine)


def test_parts_beside_a_segmentation_are_joined_with_it(dataset: Path) -> None:
    lesion = np.zeros(GRID.shape, np.uint8)
    lesion[0, 0, 0] = 2
    write_labels(dataset / "labels" / "case0_1.nii.gz", lesion, GRID)
    (entry,) = (each for each in load_split(str(dataset), metadata=METADATA, fold=0).training + load_split(
        str(dataset), metadata=METADATA, fold=0).validation if each["case"] == "case0")  # fmt: skip
    load: Any = LoadImaged("label", reader="medseg.images.reader.Reader", ensure_channel_first=True)
    np.testing.assert_array_equal(load(entry)["label"][0].numpy(), np.maximum(labels(), lesion))


def test_the_truth_of_an_evaluation_is_the_segmentation_alone(dataset: Path) -> None:
    entry = load_labelled(str(dataset), metadata=METADATA, fold="all")[0]
    assert str(entry["truth"]).endswith("labels/case0.dcm") and "label" not in entry


def test_classes_that_the_bundle_numbers_otherwise_are_told(dataset: Path) -> None:
    with pytest.raises(DatasetError, match=r"case0\.dcm: 'liver' is 1 there and 2 in this bundle; renumber it"):
        check_cases(find_cases(dataset), class_names={2: "liver", 1: "spleen"})


def test_channels_are_a_list_of_paths_on_one_grid(tmp_path: Path) -> None:
    for channel in range(2):
        write_volume(tmp_path / "images" / f"a_{channel:04d}.nii.gz", np.zeros(GRID.shape, np.int16), GRID)
    write_labels(tmp_path / "labels" / "a.nii.gz", labels(), GRID)
    (entry,) = load_labelled(str(tmp_path), metadata=METADATA, fold="all")
    assert [Path(path).name for path in entry["image"]] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    moved = Geometry(GRID.shape, GRID.affine + np.eye(4, k=3))
    write_volume(tmp_path / "images" / "a_0001.nii.gz", np.zeros(GRID.shape, np.int16), moved)
    with pytest.raises(DatasetError, match=r"a_0001\.nii\.gz and .*a_0000\.nii\.gz lie on different grids"):
        load_labelled(str(tmp_path), metadata=METADATA, fold="all")
