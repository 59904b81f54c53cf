"""Which layouts of dataset folders are known, and what belongs to a case in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from medseg.data import Case, find_cases
from medseg.errors import DatasetError


def make(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def by_name(root: Path) -> dict[str, Case]:
    return {case.name: case for case in find_cases(root)}


def test_drive_as_it_is_published(tmp_path: Path) -> None:
    train, test = tmp_path / "training", tmp_path / "test"
    make(train, "images/21_training.tif", "1st_manual/21_manual1.gif", "mask/21_training_mask.gif")
    make(test, "images/01_test.tif", "1st_manual/01_manual1.gif", "mask/01_test_mask.gif", "2nd_manual/01_manual2.gif")

    assert find_cases(tmp_path) == [
        Case(
            "21",
            (train / "images/21_training.tif",),
            (train / "1st_manual/21_manual1.gif",),
            mask=train / "mask/21_training_mask.gif",
        ),
        Case(
            "01",
            (test / "images/01_test.tif",),
            (test / "1st_manual/01_manual1.gif",),
            mask=test / "mask/01_test_mask.gif",
            observer=test / "2nd_manual/01_manual2.gif",
            subset="test",
        ),
    ]


def test_test_images_of_drive_may_have_no_labels(tmp_path: Path) -> None:
    """As the challenge's site gives it now."""
    make(tmp_path / "training", "images/21_training.tif", "1st_manual/21_manual1.gif", "mask/21_training_mask.gif")
    make(tmp_path / "test", "images/01_test.tif", "mask/01_test_mask.gif")

    assert [(case.name, case.subset, len(case.labels)) for case in find_cases(tmp_path)] == [
        ("21", "training", 1),
        ("01_test", "test", 0),
    ]


def test_masks_and_second_observers_stand_in_folders_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "images/a.tif", "labels/a.gif", "masks/a.png", "labels_2nd_observer/a.png")

    (case,) = find_cases(tmp_path)

    assert (case.mask, case.observer) == (tmp_path / "masks/a.png", tmp_path / "labels_2nd_observer/a.png")
    assert case.subset == "training"


def test_observers_need_not_have_seen_every_image_but_masks_must(tmp_path: Path) -> None:
    make(tmp_path, "images/a.tif", "images/b.tif", "labels/a.gif", "labels/b.gif", "labels_2nd_observer/b.gif")
    assert [case.observer for case in find_cases(tmp_path)] == [None, tmp_path / "labels_2nd_observer/b.gif"]

    make(tmp_path, "masks/a.gif")
    with pytest.raises(DatasetError, match=r"^image .*images/b\.tif has no mask, and others have: add it$"):
        find_cases(tmp_path)


def test_training_folder_alone_has_no_test_cases(tmp_path: Path) -> None:
    make(tmp_path, "training/images/a.png", "training/labels/a.png", "images/x.png")

    assert [(case.name, case.subset) for case in find_cases(tmp_path)] == [("a", "training")]


def test_error_in_a_subfolder_names_it(tmp_path: Path) -> None:
    make(tmp_path, "training/images/a.png", "training/labels/a.png", "test/images/b.png", "test/labels/c.png")

    with pytest.raises(DatasetError, match=r"test/images/b\.png has no label in labels/"):
        find_cases(tmp_path)


def test_mask_beside_every_slice_in_the_patients_folders(tmp_path: Path) -> None:
    """As Kaggle has the LGG set, with a table beside the patients."""
    make(tmp_path, "kaggle_3m/data.csv", "kaggle_3m/README.md")
    for patient in ("TCGA_CS_4941", "TCGA_DU_5849"):
        make(tmp_path / "kaggle_3m" / patient, *(f"{patient}_{n}{end}.tif" for n in (1, 10) for end in ("", "_mask")))

    cases = by_name(tmp_path / "kaggle_3m")

    assert list(cases) == ["TCGA_CS_4941_1", "TCGA_CS_4941_10", "TCGA_DU_5849_1", "TCGA_DU_5849_10"]
    folder = tmp_path / "kaggle_3m" / "TCGA_DU_5849"
    assert cases["TCGA_DU_5849_1"] == Case(
        "TCGA_DU_5849_1", (folder / "TCGA_DU_5849_1.tif",), (folder / "TCGA_DU_5849_1_mask.tif",)
    )
    assert find_cases(tmp_path) == list(cases.values())


def test_further_masks_of_a_picture_are_parts_of_its_label(tmp_path: Path) -> None:
    """As BUSI is published."""
    names = ["benign (25)", "benign (25)_mask", "benign (25)_mask_1", "benign (25)_mask_2", "benign (2)"]
    make(tmp_path, *(f"benign/{name}.png" for name in [*names, "benign (2)_mask"]))

    cases = by_name(tmp_path)

    folder = tmp_path / "benign"
    assert list(cases) == ["benign (2)", "benign (25)"]
    assert cases["benign (2)"].labels == (folder / "benign (2)_mask.png",)
    assert cases["benign (25)"].labels == tuple(folder / f"benign (25)_mask{part}.png" for part in ("", "_1", "_2"))


def test_further_files_in_the_labels_folder_are_parts_unless_images_are_so_named(tmp_path: Path) -> None:
    make(tmp_path, "images/a.png", "labels/a.png", "labels/a_1.png", "labels/a_2.png")
    (case,) = find_cases(tmp_path)
    assert case.labels == tuple(tmp_path / f"labels/{name}.png" for name in ("a", "a_1", "a_2"))

    make(tmp_path, "images/a_1.png")
    with pytest.raises(DatasetError, match=r"label .*a_2\.png has no image in images/"):
        find_cases(tmp_path)
    make(tmp_path, "images/a_2.png")
    assert {name: len(case.labels) for name, case in by_name(tmp_path).items()} == {"a": 1, "a_1": 1, "a_2": 1}


def test_label_with_a_suffix_of_its_own_is_told_beside_the_image_it_may_be_of(tmp_path: Path) -> None:
    make(tmp_path, "images/p0.png", "labels/p0_segmentation.png")
    with pytest.raises(DatasetError, match=r"images/p0\.png has no label .*\(there is 'p0_segmentation': names"):
        find_cases(tmp_path)


def test_names_that_look_alike_are_told_to_differ(tmp_path: Path) -> None:
    """As macOS writes them, and as others do."""
    make(tmp_path, "images/M\u00fcller.png", "labels/Mu\u0308ller.png")
    with pytest.raises(DatasetError, match="names must agree to the letter"):
        find_cases(tmp_path)


def write_pages(path: Path, count: int) -> None:
    tifffile.imwrite(path, np.zeros((count, 5, 7), np.uint8), photometric="minisblack")


def test_pages_of_isbi_2012_are_cases_and_its_test_volume_is_none(tmp_path: Path) -> None:
    for name in ("train-volume", "train-labels", "test-volume"):
        write_pages(tmp_path / f"{name}.tif", 12)

    cases = find_cases(tmp_path)

    assert [case.name for case in cases] == [f"train_{number:02d}" for number in range(1, 13)]
    assert cases[9] == Case("train_10", (tmp_path / "train-volume.tif::10",), (tmp_path / "train-labels.tif::10",))


def test_pages_without_labels_are_told(tmp_path: Path) -> None:
    write_pages(tmp_path / "train-volume.tif", 3)
    write_pages(tmp_path / "train-labels.tif", 2)

    with pytest.raises(
        DatasetError, match=r"train-labels\.tif has 2 pages and .*train-volume\.tif has 3: fetch them again$"
    ):
        find_cases(tmp_path)


def test_channels_of_nnunet_are_gathered_in_imagestr(tmp_path: Path) -> None:
    make(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_0000.nii.gz")

    (case,) = find_cases(tmp_path)

    assert case == Case(
        "a",
        (tmp_path / "imagesTr/a_0000.nii.gz", tmp_path / "imagesTr/a_0001.nii.gz"),
        (tmp_path / "labelsTr/a.nii.gz",),
    )


def test_cases_have_a_folder_each(tmp_path: Path) -> None:
    """As BraTS, KiTS and TotalSegmentator are published."""
    brats, kits, total = (tmp_path / name for name in ("brats", "kits", "total"))
    for case in ("B_2", "B_1"):
        make(brats, *(f"{case}/{case}_{kind}.nii.gz" for kind in ("t1", "seg", "flair")))
    make(kits, "case_1/imaging.nii.gz", "case_1/segmentation.nii.gz", "case_1/notes.txt", "kits.json")
    make(total, "s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "s1/segmentations/aorta.nii.gz", "meta.csv")

    folder = brats / "B_1"
    first, second = find_cases(brats)
    assert first == Case("B_1", (folder / "B_1_flair.nii.gz", folder / "B_1_t1.nii.gz"), (folder / "B_1_seg.nii.gz",))
    assert second.name == "B_2"
    folder = kits / "case_1"
    assert find_cases(kits) == [Case("case_1", (folder / "imaging.nii.gz",), (folder / "segmentation.nii.gz",))]
    masks = tuple(total / f"s1/segmentations/{name}.nii.gz" for name in ("aorta", "liver"))
    assert find_cases(total) == [Case("s1", (total / "s1/ct.nii.gz",), masks)]


def test_folder_of_a_case_that_lacks_something_is_named(tmp_path: Path) -> None:
    make(tmp_path, *(f"{case}/{case}_{kind}.nii.gz" for case in ("a", "b") for kind in ("t1", "t2", "seg")))
    (tmp_path / "b" / "b_t2.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"/b: holds _t1; other cases have _t1, _t2$"):
        find_cases(tmp_path)
    (tmp_path / "b" / "b_seg.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"/b: no image with its label, and the folders before it have both"):
        find_cases(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_image_without_a_mask_beside_it_is_named(tmp_path: Path, suffix: str) -> None:
    make(tmp_path, f"p/a.{suffix}", "p/a_mask.png", f"p/b.{suffix}", f"p/c.{suffix}", "p/notes.txt")

    with pytest.raises(DatasetError, match=rf"image .*p/b\.{suffix} has no mask in .* \(2 images have none\)"):
        find_cases(tmp_path)


def test_picture_of_another_kind_is_no_case(tmp_path: Path) -> None:
    make(tmp_path, "overview.jpg", "p/a.png", "p/a_mask.png")

    assert list(by_name(tmp_path)) == ["a"]


def test_mask_without_an_image_beside_it_is_named(tmp_path: Path) -> None:
    make(tmp_path, "p/a.png", "p/a_mask.png", "p/b_mask.png")

    with pytest.raises(DatasetError, match=r"mask .*p/b_mask\.png has no image in"):
        find_cases(tmp_path)


def test_one_name_in_two_subfolders_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "p/1.png", "p/1_mask.png", "q/1.png", "q/1_mask.png")

    with pytest.raises(DatasetError, match=r"holds .*p/1\.png and .*q/1\.png for one case: rename one of them"):
        find_cases(tmp_path)


def test_two_folders_without_any_mask_are_another_layout(tmp_path: Path) -> None:
    make(tmp_path, "photos/1.png", "drawings/1.png")

    with pytest.raises(
        DatasetError, match=r"holds drawings, photos: expected .* NAME_mask beside every NAME, or a folder"
    ):
        find_cases(tmp_path)


def test_mask_of_one_name_in_two_subfolders_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "p/1.png", "p/1_mask.png", "q/1_mask.png")

    with pytest.raises(DatasetError, match=r"holds .*p/1_mask\.png and .*q/1_mask\.png for one case"):
        find_cases(tmp_path)


def test_texts_of_one_name_in_two_subfolders_are_no_cases(tmp_path: Path) -> None:
    make(tmp_path, "p/1.png", "p/1_mask.png", "p/readme.txt", "q/2.png", "q/2_mask.png", "q/readme.txt", "q/2.csv")

    assert list(by_name(tmp_path)) == ["1", "2"]


def test_real_drive_has_20_cases_to_train_and_20_to_test_with_masks_and_observers(data_dir: Path) -> None:
    cases = find_cases(data_dir / "drive")

    assert [case.name for case in cases if case.subset == "training"] == [f"{n:02d}" for n in range(21, 41)]
    assert [case.name for case in cases if case.subset == "test"] == [f"{n:02d}" for n in range(1, 21)]
    assert all(case.mask and case.mask.name == f"{case.name}.gif" for case in cases)
    assert [case.name for case in cases if case.observer] == [f"{n:02d}" for n in range(1, 21)]


def test_real_ultrasound_has_26_pictures_one_of_them_with_two_lesions(data_dir: Path) -> None:
    cases = find_cases(data_dir / "us_busi")

    assert len(cases) == 26
    assert [(case.name, len(case.labels)) for case in cases if len(case.labels) > 1] == [("benign_025", 2)]


def test_real_cells_are_60(data_dir: Path) -> None:
    cases = find_cases(data_dir / "wbc_1")

    assert len(cases) == 60
    assert all(len(case.labels) == 1 for case in cases)
