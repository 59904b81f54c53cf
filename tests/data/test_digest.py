"""A dataset's short name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.data import Case, digest, find_cases


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "one"
    for name in ("images/a/1.dcm", "images/a/2.dcm", "images/b.nii", "labels/a.nii", "labels/b.nii"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_it_is_short_and_the_same_for_the_same_files_anywhere(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "two")

    first, second = find_cases(dataset), find_cases(tmp_path / "two")

    assert digest(first) == digest(second) == digest(first[::-1])
    assert len(digest(first)) == 16


@pytest.mark.parametrize("file", ["images/b.nii", "labels/a.nii", "images/a/2.dcm"])
def test_one_changed_byte_changes_it(dataset: Path, file: str) -> None:
    before = digest(find_cases(dataset))
    content = bytearray((dataset / file).read_bytes())
    content[-1] ^= 1
    (dataset / file).write_bytes(content)

    assert digest(find_cases(dataset)) != before


def test_a_changed_size_changes_it_beyond_the_first_mebibyte(dataset: Path) -> None:
    image = dataset / "images/b.nii"
    image.write_bytes(bytes(3 << 20))
    before = digest(find_cases(dataset))
    image.write_bytes(bytes((3 << 20) + 1))

    assert digest(find_cases(dataset)) != before


def test_a_changed_name_or_list_changes_it(dataset: Path) -> None:
    cases = find_cases(dataset)
    renamed = [cases[0], Case("c", cases[1].images, cases[1].labels)]
    unlabelled = [cases[0], Case("b", cases[1].images, ())]

    assert len({digest(each) for each in (cases, cases[:1], renamed, unlabelled)}) == 4


def test_every_part_of_a_label_counts(dataset: Path) -> None:
    part = dataset / "labels/b_1.nii"
    part.write_bytes(b"one lesion more")
    before = digest(find_cases(dataset))
    part.write_bytes(b"two lesions more")

    assert digest(find_cases(dataset)) != before
