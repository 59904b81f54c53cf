"""What a training and an evaluation get of a dataset."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from medseg.data import Folds, load_labelled, load_split
from medseg.errors import ConfigError, DatasetError
from medseg.images import read_image
from medseg.images.reader import LabelReader

METADATA: dict[str, Any] = {
    "classes": {"vessel": {"colour": [255, 0, 0]}},
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "vessel"}}}},
}
WHITE = LabelReader("white")


def make(root: Path, *, full: int, empty: int = 0, white: int = 1) -> Path:
    """Cases 000, 001, ...: `full` with a label that holds something, then `empty` without."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(full + empty):
        label = np.zeros((8, 8), np.uint8)
        label[2:7, 2:7] = white * (number < full)
        Pillow.fromarray(label).save(root / "labels" / f"{number:03d}.png")
        Pillow.fromarray(np.full((8, 8), number, np.uint8)).save(root / "images" / f"{number:03d}.png")
    return root


def split(root: Path, fold: int | str = 0, **options: Any) -> Any:
    return load_split(str(root), metadata=METADATA, fold=fold, **options)


def labelled(root: Path, fold: int | str = 0, **options: Any) -> Any:
    return load_labelled(str(root), metadata=METADATA, fold=fold, **options)


def numbers(entries: Any) -> list[int]:
    return [int(entry["case"]) for entry in entries]


def test_split_gives_paths_and_facts(tmp_path: Path) -> None:
    found = split(make(tmp_path, full=10), fold=4)
    assert found.validation[0] == {
        "image": str(tmp_path / "images" / "008.png"),
        "label": str(tmp_path / "labels" / "008.png"),
        "case": "008",
    }
    assert (numbers(found.training), numbers(found.validation)) == (list(range(8)), [8, 9])
    assert {key: found.tags[key] for key in ("fold", "training_cases", "validation_cases")} == {
        "fold": "4",
        "training_cases": "8",
        "validation_cases": "2",
    }
    assert len(found.tags["dataset_fingerprint"]) >= 16


def test_evaluation_on_empty_labels_only_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labelled(make(tmp_path / "some", full=1, empty=9), fold=0)
    assert not caplog.records
    labelled(make(tmp_path / "none", full=1, empty=9), fold=4)
    assert "the labels of all 2 cases hold background only; does label_reader fit?" in caplog.text


def test_entries_that_a_dataset_was_given_instead_are_what_is_told_of(tmp_path: Path) -> None:
    found = split(make(tmp_path, full=10), fold=4)
    assert found.trained_on(found.training, None) is found
    assert found.trained_on(found.training[::-1], found.validation) is found, "as SmartCacheDataset turns them over"
    mine = [{"image": "a.nii.gz", "label": "b.nii.gz"}] * 3
    other = found.trained_on(mine, found.validation)
    assert (other.training, other.validation) == (mine, found.validation)
    assert other.tags == {"training_cases": "3", "validation_cases": "2"} and other.facts != found.facts


@pytest.mark.parametrize("labels", [{"0": "background", "2": "vessel"}, {"background": 0, "Vessel": 2, "x": [1, 2]}])
def test_classes_that_dataset_json_numbers_otherwise_are_told(tmp_path: Path, labels: dict[str, Any]) -> None:
    root = make(tmp_path, full=5)
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    for load in (split, labelled):
        with pytest.raises(
            DatasetError, match=r"dataset\.json: '[vV]essel' is 2 there and 1 in this bundle; take values"
        ):
            load(root)
    assert len(split(root, label_reader=LabelReader({"take": {1: 1}})).training) == 4
    for other in ('{"labels": {"1": "vessel", "3": "heart"}}', "no json", "{}", '{"labels": [1]}'):
        (root / "dataset.json").write_text(other)
        assert len(split(root).training) == 4


def test_all_trains_on_every_case(tmp_path: Path) -> None:
    found = split(make(tmp_path, full=6), fold="all")
    assert (numbers(found.training), found.validation) == ([0, 1, 2, 3, 4, 5], [])
    assert numbers(labelled(tmp_path, fold="all")) == [0, 1, 2, 3, 4, 5]


def test_labels_are_checked_as_the_label_reader_reads_them(tmp_path: Path) -> None:
    make(tmp_path, full=5, white=255)
    with pytest.raises(DatasetError, match=r"000\.png holds the value 255: .* give the bundle a label_reader"):
        split(tmp_path)
    with pytest.raises(DatasetError, match=r"000\.png holds the value 255"):
        labelled(tmp_path)
    assert len(split(tmp_path, label_reader=WHITE).training) == 4
    assert len(labelled(tmp_path, label_reader=WHITE)) == 1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_empty_labels_are_at_most_the_share_asked_for(tmp_path: Path, share: float) -> None:
    make(tmp_path, full=7, empty=70)
    kept = numbers(split(tmp_path, fold="all", max_empty=share).training)
    empty = [number for number in kept if number >= 7]
    exact = Fraction(str(share))
    assert kept[:7] == list(range(7))
    assert len(empty) == int(exact / (1 - exact) * 7)
    gaps = set(np.diff([*empty, 77]).tolist()) if empty else {1}
    assert max(gaps) - min(gaps) <= 1, "evenly spaced"


def test_empty_labels_stay_where_there_are_few_or_all_are_welcome(tmp_path: Path) -> None:
    make(tmp_path, full=3, empty=3)
    for share in (None, 0.5, 0.9, 1.0):
        assert numbers(split(tmp_path, fold="all", max_empty=share).training) == [0, 1, 2, 3, 4, 5]


def test_empty_labels_stay_among_the_validation_cases(tmp_path: Path) -> None:
    make(tmp_path, full=4, empty=6)
    found = split(tmp_path, fold=4, max_empty=0.0)
    assert (numbers(found.training), numbers(found.validation)) == ([0, 1, 2, 3], [8, 9])
    assert found.tags["training_cases"] == "4"


def test_training_cases_without_any_structure_are_refused(tmp_path: Path) -> None:
    make(tmp_path, full=1, empty=9)
    for share in (None, 0.4):
        with pytest.raises(DatasetError, match=r"the labels of all 8 training cases hold background only"):
            split(tmp_path, fold=0, max_empty=share)
        assert len(split(tmp_path, fold=4, max_empty=share).training) > 0
    assert len(labelled(tmp_path, fold=4)) == 2, "measuring on empty ones is another matter"


def test_values_that_the_coding_does_not_take_are_no_structure(tmp_path: Path) -> None:
    make(tmp_path, full=10, white=3)
    with pytest.raises(DatasetError, match=r"hold background only.*does the bundle's label_reader fit them\?$"):
        split(tmp_path, label_reader=LabelReader({"take": {7: 1}}))
    assert len(split(tmp_path, label_reader=LabelReader({"take": {3: 1}})).training) == 8


@pytest.mark.parametrize("most", [0, -1, "abc", 1.5])
def test_number_of_cases_that_is_none_is_refused(tmp_path: Path, most: Any) -> None:
    make(tmp_path, full=5)
    for load in (split, labelled):
        with pytest.raises(ConfigError, match=rf"^max_cases {most!r}: give a whole number of at least 1"):
            load(tmp_path, max_cases=most)


def test_black_mask_without_black_is_empty(tmp_path: Path) -> None:
    """What is empty is told by the coding, not by zeros in the file."""
    make(tmp_path, full=5, white=255)
    Pillow.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "labels" / "002.png")
    found = split(tmp_path, fold="all", max_empty=0.0, label_reader=LabelReader("black"))
    assert numbers(found.training) == [0, 1, 3, 4]


def test_few_cases_are_evenly_spaced_on_the_sides_where_they_were(tmp_path: Path) -> None:
    make(tmp_path, full=20)
    found = split(tmp_path, fold=1, max_cases=10)
    assert (numbers(found.training), numbers(found.validation)) == ([0, 2, 8, 10, 12, 14, 16, 18], [4, 6])
    assert numbers(labelled(tmp_path, fold=1, max_cases=2)) == [4, 6]
    assert numbers(labelled(tmp_path, fold="all", max_cases=5)) == [0, 4, 8, 12, 16]
    assert len(split(tmp_path, fold=0, max_cases=99).training) == 16


@pytest.mark.parametrize("most", [1, 3, 7, 12])
def test_few_cases_are_never_trained_on_and_tested(tmp_path: Path, most: int) -> None:
    """A quick try must not see what is set aside, whatever the rule that sets it aside."""
    make(tmp_path, full=20)
    rule = Folds(2, test_every=3)
    test, validation = (set(numbers(labelled(tmp_path, fold, folds=rule))) for fold in ("test", 1))
    found = split(tmp_path, "all", folds=rule, max_cases=most)
    assert not set(numbers(found.training)) & test
    found = split(tmp_path, 1, folds=rule, max_cases=12)
    assert not set(numbers(found.training)) & (test | validation)
    assert set(numbers(found.validation)) <= validation


def test_few_cases_of_a_fixed_split(tmp_path: Path) -> None:
    make(tmp_path, full=4)
    file = tmp_path / "splits_final.json"
    file.write_text('[{"train": ["000", "001"], "val": ["002", "003"]}]')
    found = split(tmp_path, folds=Folds(file=str(file)), max_cases=2)
    assert (numbers(found.training), numbers(found.validation)) == ([0], [2])


def test_so_few_cases_that_a_side_has_none_are_an_error(tmp_path: Path) -> None:
    make(tmp_path, full=10)
    with pytest.raises(DatasetError, match="max_cases 1 leaves no case to "):
        split(tmp_path, max_cases=1)


def test_training_cases_are_evaluated_where_that_side_is_asked_for(tmp_path: Path) -> None:
    make(tmp_path, full=10)
    assert numbers(labelled(tmp_path, fold=0)) == [0, 1]
    assert numbers(labelled(tmp_path, fold=0, side="training")) == numbers(split(tmp_path, fold=0).training)
    with pytest.raises(ConfigError, match=r"^side 'test': expected 'validation' or 'training'$"):
        labelled(tmp_path, side="test")


def test_test_cases_are_those_set_aside_and_must_be_there(tmp_path: Path) -> None:
    make(tmp_path / "one" / "training", full=5)
    make(tmp_path / "one" / "test", full=2)
    (found, _) = labelled(tmp_path / "one", fold="test")
    assert found["truth"] == str(tmp_path / "one" / "test" / "labels" / "000.png")
    assert len(split(tmp_path / "one", fold="all").training) == 5

    make(tmp_path / "two", full=6)
    assert numbers(labelled(tmp_path / "two", fold="test", folds=Folds(2, test_every=3))) == [2, 5]
    with pytest.raises(DatasetError, match=r"two: no test cases; a dataset sets them aside in a folder test/"):
        labelled(tmp_path / "two", fold="test")


def test_test_cases_need_labels_only_where_they_are_asked_for(tmp_path: Path) -> None:
    make(tmp_path / "training", full=6)
    make(tmp_path / "test", full=2)
    shutil.rmtree(tmp_path / "test" / "labels")

    assert numbers(split(tmp_path, fold="all").training) == numbers(labelled(tmp_path, fold="all")) == list(range(6))
    with pytest.raises(
        DatasetError, match=r"^case 000 has no label: add that of .*/test/images/000\.png, or .* fold \(1 other case"
    ):
        labelled(tmp_path, fold="test")


def test_truth_stands_where_preprocessing_does_not_touch_it(tmp_path: Path) -> None:
    make(tmp_path, full=5)
    assert set(labelled(tmp_path)[0]) == {"image", "truth", "case"}


def test_no_dataset_says_how_to_give_one() -> None:
    for load in (load_split, load_labelled):
        with pytest.raises(DatasetError, match="no dataset given: use --dataset_dir FOLDER"):
            load(None, metadata=METADATA, fold=0)


def test_real_masks_and_second_observers_are_entries_of_their_own(data_dir: Path) -> None:
    drive = data_dir / "drive"
    found = labelled(drive, fold="test", label_reader=WHITE, max_cases=4)
    assert numbers(found) == [1, 6, 11, 16]
    assert found[1] == {
        "image": str(drive / "test/images/06.tif"),
        "truth": str(drive / "test/labels/06.gif"),
        "mask": str(drive / "test/masks/06.gif"),
        "observer": str(drive / "test/labels_2nd_observer/06.gif"),
        "case": "06",
    }
    (validated, *_) = labelled(drive, fold=1, label_reader=WHITE, max_cases=1)
    assert "mask" in validated and "observer" not in validated
    (everywhere,) = labelled(drive, fold=1, label_reader=WHITE, max_cases=1, masked=False)
    assert everywhere == {key: value for key, value in validated.items() if key != "mask"}


def test_real_lesions_are_parts_of_one_label_and_empty_ones_are_left_out(data_dir: Path) -> None:
    folder = data_dir / "us_busi"
    both = [str(folder / "labels" / name) for name in ("benign_025.png", "benign_025_1.png")]
    found = split(folder, fold="all", label_reader=WHITE, max_empty=0.0)
    assert len(found.training) == 22
    assert next(each for each in found.training if each["case"] == "benign_025")["label"] == both
    assert (
        next(each for each in labelled(folder, "all", label_reader=WHITE) if len(each["truth"]) == 2)["truth"] == both
    )
    assert not any(each["case"].startswith("normal") for each in found.training)


def test_structure_sets_can_be_told_empty_or_not(data_dir: Path, tmp_path: Path) -> None:
    """They have no grid of their own."""
    source = data_dir / "dicom_qa" / "rtstruct_phantom"
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (structures,) = (source / "rtstruct").iterdir()
    (tmp_path / "images" / "a").symlink_to(source / "dicom")
    (tmp_path / "labels" / "a.dcm").symlink_to(structures)
    assert read_image(source / "dicom").array.any()
    found = split(tmp_path, fold="all", max_empty=0.0)
    assert found.training[0]["label"] == [str(tmp_path / "labels" / "a.dcm"), str(tmp_path / "images" / "a")]
