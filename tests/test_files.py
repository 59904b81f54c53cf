"""Files appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medseg.errors import OutputError
from medseg.files import array_on_disk, replacing, together, write_text


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


@pytest.mark.parametrize("path", [".", "", "/", "./"])
def test_path_without_a_name_is_no_file(path: str) -> None:
    with pytest.raises(OutputError, match=r"^[./]: a folder, not the name of a file; add one$"):
        write_text(path, "")


@pytest.mark.parametrize("path", ["..", "there", "there/."])
def test_folder_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "kept").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=r"^(\.\.|there): cannot be written"):
        write_text(path, "")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "there", tmp_path / "there" / "kept"]


def test_files_that_appear_together_are_on_disk_and_then_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    with together(tmp_path, "case") as place:
        place("labels").write_text("2")
    assert synced == [each.stat().st_ino for each in (tmp_path / "labels", tmp_path)]


def test_array_on_disk_holds_what_is_written_and_leaves_no_file(tmp_path: Path) -> None:
    array = array_on_disk(tmp_path, (3, 4, 2))
    array[1] = 5
    assert (array.shape, array.dtype, array.sum()) == ((3, 4, 2), np.float32, 40)
    assert array.flags.f_contiguous
    assert list(tmp_path.iterdir()) == []


def test_array_that_no_disk_holds_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no room for 4000000\.0 GB"):
        array_on_disk(tmp_path, (10**5, 10**5, 10**5))
