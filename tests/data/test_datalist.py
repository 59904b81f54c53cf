"""Which files of a folder make a case."""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.data import Case, find_cases
from medseg.errors import DatasetError


def make(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_cases_are_sorted_by_name_whatever_their_suffix(tmp_path: Path) -> None:
    make(tmp_path, "images/b.nii", "images/a.1.nii.gz", "labels/b.nii.gz", "labels/a.1.nii")

    assert find_cases(str(tmp_path)) == [
        Case("a.1", (tmp_path / "images/a.1.nii.gz",), (tmp_path / "labels/a.1.nii",)),
        Case("b", (tmp_path / "images/b.nii",), (tmp_path / "labels/b.nii.gz",)),
    ]


def test_a_folder_is_the_dicom_series_of_a_case(tmp_path: Path) -> None:
    make(tmp_path, "images/scan.2/0001.dcm", "images/scan.2/0002.dcm", "labels/scan.2.nii.gz")

    (case,) = find_cases(tmp_path)

    assert (case.name, case.images) == ("scan.2", (tmp_path / "images/scan.2",))


def test_channels_are_gathered_as_nnunet_names_them(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/a_0001.nii.gz", "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz")
    make(tmp_path, "labelsTr/a.nii.gz", "labelsTr/b.nii.gz", "imagesTr/b_0001.nii.gz")
    cases = find_cases(tmp_path)
    assert [[path.name for path in case.images] for case in cases] == [
        ["a_0000.nii.gz", "a_0001.nii.gz"],
        ["b_0000.nii.gz", "b_0001.nii.gz"],
    ]
    (tmp_path / "imagesTr" / "b_0001.nii.gz").unlink()
    with pytest.raises(DatasetError, match="b: its channel b_0001 is missing"):
        find_cases(tmp_path)


def test_the_decathlon_layout_is_known(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/x.nii.gz", "labelsTr/x.nii.gz", "imagesTs/y.nii.gz", "dataset.json")

    assert [case.name for case in find_cases(tmp_path)] == ["x"]


def test_hidden_files_and_litter_are_ignored(tmp_path: Path) -> None:
    make(tmp_path, "images/x.nii.gz", "labels/x.nii.gz")
    make(tmp_path, "images/._x.nii.gz", "images/.DS_Store", "labels/._x.nii.gz", "labels/Thumbs.db")

    assert [case.name for case in find_cases(tmp_path)] == ["x"]


def test_a_folder_of_another_layout_is_described(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent does not exist: expected images/ and labels/ .*same name"):
        find_cases(tmp_path / "absent")
    with pytest.raises(DatasetError, match="holds nothing: expected"):
        find_cases(tmp_path)
    make(tmp_path, *(f"{n}.nii.gz" for n in range(7)))
    with pytest.raises(DatasetError, match=r"holds 0.nii.gz, .*4.nii.gz and 2 more: expected"):
        find_cases(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        find_cases(tmp_path / "0.nii.gz")


def test_both_folders_of_one_layout_are_needed(tmp_path: Path) -> None:
    make(tmp_path, "images/x.nii.gz")
    with pytest.raises(DatasetError, match="has no folder labels/: expected"):
        find_cases(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(DatasetError, match="both"):
        find_cases(tmp_path)


def test_empty_folders_are_an_error(tmp_path: Path) -> None:
    make(tmp_path, "images/.keep", "labels/.keep")

    with pytest.raises(DatasetError, match="images/ and labels/ are empty"):
        find_cases(tmp_path)


def test_an_image_without_a_label_is_named_and_the_others_counted(tmp_path: Path) -> None:
    make(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "images/c.nii.gz", "labels/b.nii.gz")

    with pytest.raises(DatasetError, match=r"images/a.nii.gz has no label in labels/ \(2 images have none\)"):
        find_cases(tmp_path)


def test_a_label_without_an_image_is_named(tmp_path: Path) -> None:
    make(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "labels/A.nii.gz")

    with pytest.raises(
        DatasetError,
        match=r"label .*labels/A.nii.gz has no image in images/ \(there is 'a': names must",
    ):
        find_cases(tmp_path)


def test_a_file_of_another_kind_is_not_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "images/readme.txt")

    with pytest.raises(DatasetError, match=r"images/readme.txt has no label"):
        find_cases(tmp_path)


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    make(tmp_path, "images/a.nii", "images/a.nii.gz", "labels/a.nii.gz")

    with pytest.raises(DatasetError, match=r"holds a.nii and a.nii.gz for one case"):
        find_cases(tmp_path)


def test_the_real_set_is_found(data_dir: Path) -> None:
    cases = find_cases(data_dir / "hippocampus")

    assert len(cases) == 200
    assert all(case.images[0].name == case.labels[0].name for case in cases if case.labels)
