"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.errors import OutputError
from medseg.files import replacing, write_text


def test_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "text.nii.gz"
    with replacing(target) as beside:
        beside.write_text("half")
        assert not target.exists()
        assert beside.name.endswith(".nii.gz")
    assert target.read_text() == "half"
    assert list(target.parent.iterdir()) == [target]


def test_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "text"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), replacing(target) as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(OutputError, match="file/below: cannot be written"):
        write_text(tmp_path / "file" / "below", "")
