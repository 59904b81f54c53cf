"""A user's error is one line, however deeply it was wrapped; a programmer's stays a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medseg.errors import DatasetError, MedsegError, user_error_in

SCRIPT = """
from medseg.errors import DatasetError, one_line_errors
one_line_errors()
try:
    {raised}
except Exception as error:
    raise RuntimeError("wrapped by MONAI") from error
"""


def run(raised: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(raised=raised)], capture_output=True, text=True, check=False
    )


def test_user_error_is_one_line() -> None:
    done = run("raise DatasetError('folder: empty; give another')")
    assert done.stderr == "medseg: error: folder: empty; give another\n"
    assert done.returncode == 1


def test_programmers_error_stays_a_traceback() -> None:
    done = run("1 / 0")
    assert "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr
    assert done.returncode == 1


def test_user_error_is_found_below_what_wrapped_it() -> None:
    inner = DatasetError("folder: empty")
    with pytest.raises(RuntimeError) as caught:
        try:
            raise inner
        except MedsegError as error:
            raise RuntimeError("outer") from error
    assert user_error_in(caught.value) is inner
    assert user_error_in(ValueError("mine")) is None
    assert user_error_in(None) is None
