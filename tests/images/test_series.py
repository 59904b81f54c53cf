"""The writer of made-up series: its files are always the same, and only what a series can hold is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.images.geometry import Geometry
from medseg.images.series import write_dicom_series


def test_same_series_is_written_byte_for_byte_the_same(tmp_path: Path) -> None:
    for name in ("once", "again"):
        write_dicom_series(
            tmp_path / name, np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), np.eye(4)), modality="MR"
        )
    once, again = (sorted((tmp_path / name).iterdir()) for name in ("once", "again"))
    assert len(once) == 5
    assert [file.read_bytes() for file in once] == [file.read_bytes() for file in again]


def test_sheared_grid_is_no_series(tmp_path: Path) -> None:
    sheared = np.eye(4)
    sheared[0, 2] = 0.3
    with pytest.raises(ValueError, match="sheared"):
        write_dicom_series(tmp_path, np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), sheared), modality="CT")
