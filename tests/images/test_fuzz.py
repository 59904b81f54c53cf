"""Damaged files give one line or a sound image: no traceback, no noise, no hang."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest


def test_damaged_files_are_refused_in_one_line_or_read_soundly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
    assert spec and spec.loader
    mutations = importlib.util.module_from_spec(spec)
    sys.modules["mutations"] = mutations
    spec.loader.exec_module(mutations)
    (tmp_path / "sound").mkdir()
    outcomes = Counter(outcome for _, outcome in islice(mutations.fuzz(tmp_path, seed=0), 1500))
    assert outcomes["refused"] > 300 and outcomes["read"] > 100
    assert capfd.readouterr() == ("", "")
