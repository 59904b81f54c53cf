"""Small synthetic series, each broken in the way a test is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medseg.images.dicom.series_write import write_dicom_series
from medseg.images.geometry import Geometry

Edit = Callable[[pydicom.Dataset, int], object]


@pytest.fixture(scope="session")
def dicom_qa(data_dir: Path) -> Path:
    return data_dir / "dicom_qa"


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., Path]:
    """Write a series of 4 x 3 voxels per slice, 2 x 3 x 5 mm, slice k holding 100 * k and up; gives its folder.

    `edit(dataset, k)` changes each slice before it is written; the result `None` of a dataset's
    `SOPInstanceUID` leaves the file out.
    """

    def make(
        edit: Edit = lambda dataset, k: None,
        *,
        count: int = 4,
        modality: str = "CT",
        folder: str = "series",
        seed: str = "a",
    ) -> Path:
        voxels = np.arange(12).reshape(4, 3, 1) + 100 * np.arange(count)
        place = tmp_path / folder
        write_dicom_series(
            place,
            voxels.astype(np.int16),
            Geometry(voxels.shape, np.diag([2.0, 3, 5, 1])),
            modality=modality,
            seed=seed,
        )
        for k in range(count):
            file = place / f"{k + 1:03d}.dcm"
            dataset = pydicom.dcmread(file)
            edit(dataset, k)
            if dataset.SOPInstanceUID is None:
                file.unlink()
            else:
                dataset.save_as(file)
        return place

    return make


def set_(**values: Any) -> Edit:
    """An edit that sets tags on every slice; None removes one."""

    def edit(dataset: pydicom.Dataset, k: int) -> None:
        for keyword, value in values.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)

    return edit
