"""Warnings of pydicom stay off the screen, and Python's filters are what they were."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest

from medseg.images.dicom import read_dicom


def test_odd_values_of_many_threads_leave_no_warnings_and_no_filters(
    series: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.add(pydicom.DataElement("StationName", "SH", "a" * 40, validation_mode=pydicom.config.IGNORE))
        dataset.add(pydicom.DataElement("ContentTime", "TM", "noon", validation_mode=pydicom.config.IGNORE))

    folder, before = series(edit), list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        shapes = list(pool.map(lambda _: read_dicom(folder).array.shape, range(12)))
    assert shapes == [(4, 3, 4)] * 12 and warnings.filters == before
    assert capfd.readouterr() == ("", "")
