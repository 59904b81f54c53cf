"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets: `MEDSEG_DATA`, by default `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("MEDSEG_DATA", REPOSITORY / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set MEDSEG_DATA to the folder that holds it")
    return folder
