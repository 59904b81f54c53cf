"""The made-up dataset, as read back from disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.data import check_cases, find_cases
from medseg.data.phantom import CLASS_NAMES, make_phantom
from medseg.errors import ConfigError, OutputError
from medseg.images import read_image

CASES = 5


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    make_phantom(folder, cases=CASES)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """The digest of every NIfTI file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.nii.gz"))
    }


def test_it_is_a_sound_dataset(phantom: Path) -> None:
    cases = find_cases(phantom)

    assert [case.name for case in cases] == ["case_001", "case_002", "case_003", "case_004", "case_005"]
    check_cases(cases, class_names=CLASS_NAMES)


def test_the_same_seed_gives_the_same_files(phantom: Path, tmp_path: Path) -> None:
    make_phantom(tmp_path / "again", cases=2)

    again = digests(tmp_path / "again")
    assert again.items() <= digests(phantom).items()
    assert len(again) == 5


def test_another_seed_gives_other_patients(phantom: Path, tmp_path: Path) -> None:
    make_phantom(tmp_path / "other", cases=1, seed=1)

    assert not set(digests(tmp_path / "other").values()) & set(digests(phantom).values())


def test_every_organ_is_there_and_big_enough_except_the_spleen_of_one_case(phantom: Path) -> None:
    volumes_ml = {}
    for case in find_cases(phantom):
        label = read_image(case.labels[0])
        voxel_ml = abs(np.linalg.det(label.geometry.affine[:3, :3])) / 1000
        volumes_ml[case.name] = [float((label.array == value).sum()) * voxel_ml for value in CLASS_NAMES]

    for name, (liver, spleen, kidneys) in volumes_ml.items():
        assert 150 < liver < 350
        assert 15 < spleen < 50 if name != "case_004" else spleen == 0
        assert 30 < kidneys < 70


def test_organs_lie_on_their_own_side_in_every_orientation(phantom: Path) -> None:
    for case in find_cases(phantom):
        label = read_image(case.labels[0])
        image = read_image(case.images[0])
        to_world = label.geometry.affine

        def middle(mask: np.ndarray, to_world: np.ndarray = to_world) -> np.ndarray:
            return to_world[:3, :3] @ np.argwhere(mask).mean(axis=0) + to_world[:3, 3]

        body = middle(image.array > -300)
        liver, kidneys = middle(label.array == 1), middle(label.array == 3)
        assert liver[0] > body[0] + 10  # to the patient's right
        assert kidneys[1] < body[1] - 10  # posterior
        assert kidneys[2] < liver[2] - 10  # below the liver
        if (label.array == 2).any():
            assert middle(label.array == 2)[0] < body[0] - 25


def test_grids_differ_and_one_is_oblique(phantom: Path) -> None:
    affines = [read_image(case.images[0]).geometry.affine for case in find_cases(phantom)]

    assert {"".join(nib.aff2axcodes(affine)) for affine in affines} == {"RAS", "LAS", "LPS"}
    assert len({tuple(nib.affines.voxel_sizes(affine).round(3)) for affine in affines}) > 1
    assert [bool(nib.affines.obliquity(affine).max() > 0.05) for affine in affines] == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_values_are_those_of_a_ct(phantom: Path) -> None:
    for case in find_cases(phantom):
        image, label = read_image(case.images[0]).array, read_image(case.labels[0]).array
        assert image.dtype == np.int16
        assert -1024 <= image.min() < -950
        assert 350 < image.max() < 1500
        assert 80 < np.median(image[label == 1]) < 140
        # As bright as the spleen, and more of it: brightness alone cannot find the spleen.
        if (label == 2).any():
            spleen = image[label == 2]
            alike = (image > np.percentile(spleen, 10)) & (image < np.percentile(spleen, 90)) & (label == 0)
            assert alike.sum() > (label == 2).sum()


def test_the_further_case_is_a_ct_series_whose_label_lies_on_its_grid(phantom: Path) -> None:
    scan = read_image(phantom / "dicom_case")
    label = read_image(phantom / "dicom_case_label.nii.gz")

    assert scan.modality == "CT"
    assert set(np.unique(label.array)) == {0, 1, 2, 3}
    # The reader may order the axes in its own way: the organ is compared in the world.
    onto_scan = np.linalg.inv(scan.geometry.affine) @ label.geometry.affine
    index = np.argwhere(label.array == 1) @ onto_scan[:3, :3].T + onto_scan[:3, 3]
    assert np.abs(index - index.round()).max() < 1e-2
    assert 80 < np.median(scan.array[tuple(index.round().astype(int).T)]) < 140


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")

    with pytest.raises(OutputError, match="is not empty: choose a new folder"):
        make_phantom(tmp_path, cases=1)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_seed_that_is_none_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^seed is -1: expected 0 or a number above$"):
        make_phantom(tmp_path / "new", cases=1, seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match="cannot"):
        make_phantom(tmp_path / "file" / "phantom", cases=1)


@pytest.mark.parametrize("cases", [0, 1000])
def test_the_number_of_cases_has_limits(tmp_path: Path, cases: int) -> None:
    with pytest.raises(ConfigError, match=f"cases is {cases}: expected a number from 1 to 999"):
        make_phantom(tmp_path, cases=cases)
