"""`medseg inspect`: what a person and a program are told of files and folders."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from medseg.cli.main import main
from medseg.images import Geometry, write_labels, write_volume
from medseg.types import LabelClass

Run = Callable[..., str]


@pytest.fixture
def inspect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; gives what it printed."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["medseg", "inspect", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out + printed.err

    return run


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command that must fail; gives its one line."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["medseg", "inspect", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code == 1 and not printed.out and printed.err.count("\n") == 1
        return printed.err

    return run


def test_a_scan_is_told_with_its_place_and_values(inspect: Run, tmp_path: Path) -> None:
    affine = np.array([[-2.0, 0, 0, 10], [0, 0, 3, 20], [0, 1.5, 0, 30], [0, 0, 0, 1]])
    voxels = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.int16) - 50
    write_volume(tmp_path / "a.nii.gz", voxels, Geometry(voxels.shape, affine))
    told = inspect(tmp_path / "a.nii.gz")
    for words in (
        "NIfTI",
        "4 x 5 x 6 voxels, int16",
        "2 x 1.5 x 3 mm",
        "LSA, first voxel at 10, 20, 30 mm",
        "-50 to 69",
    ):
        assert words in told
    facts = json.loads(inspect(tmp_path / "a.nii.gz", "--json"))
    assert facts["affine"] == affine.tolist() and facts["shape"] == [4, 5, 6] and facts["labels"] == []


def test_labels_are_told_with_names_and_volumes(inspect: Run, tmp_path: Path) -> None:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[:2], labels[5, 5, 5] = 1, 3
    classes = [LabelClass(1, "liver"), LabelClass(3, "spleen")]
    write_labels(tmp_path / "a.nii.gz", labels, Geometry(labels.shape, np.diag([2.0, 2, 2, 1])), classes=classes)
    told = inspect(tmp_path / "a.nii.gz")
    assert "1 liver: 1.600 mL, 200 voxels" in told and "3 spleen: 0.008 mL, 1 voxels" in told


def test_several_series_are_listed_and_one_can_be_named(inspect: Run, data_dir: Path) -> None:
    folder = data_dir / "dicom_qa" / "two_orientations" / "dicom"
    facts = json.loads(inspect(folder, "--json"))
    assert [each["size"] for each in facts["series"]] == [[288, 288, 2]] * 2
    assert "read one as PATH::NUMBER" in inspect(folder)
    assert "288 x 288 x 2 voxels" in inspect(f"{folder}::2")


def test_a_series_and_what_is_odd_about_it(inspect: Run, data_dir: Path, tmp_path: Path) -> None:
    told = inspect(data_dir / "dicom_qa" / "gantry_tilt_ct" / "dicom", "--preview", tmp_path / "p.png")
    assert "DICOM CT" in told and "gantry tilt: the slices are stacked 18.5 degrees off their normal" in told
    with Picture.open(tmp_path / "p.png") as shown:
        assert shown.size[0] > 300


def test_structures_and_segments_lie_on_their_image(inspect: Run, data_dir: Path, tmp_path: Path) -> None:
    case = data_dir / "dicom_qa" / "rtstruct_phantom"
    assert "ROI-1" in inspect(case / "rtstruct" / "rt.dcm")
    told = inspect(case / "rtstruct" / "rt.dcm", "--image", case / "dicom", "--preview", tmp_path / "p.png")
    assert "1 ROI-1: 1.720 mL, 1443 voxels" in told
    shown = np.asarray(Picture.open(tmp_path / "p.png").convert("RGB")).reshape(-1, 3)
    assert (np.abs(shown.astype(int) - (162, 136, 95)).max(axis=1) < 12).any()  # the colour of the structure
    case = data_dir / "dicom_qa" / "seg_liver_ct"
    assert "1 Liver: 70.362 mL" in inspect(case / "seg" / "liver.dcm", "--image", case / "dicom")


def test_a_folder_of_images_is_a_table_that_names_the_broken(inspect: Run, tmp_path: Path) -> None:
    grid = Geometry((4, 5, 6), np.eye(4))
    for name in ("a.nii.gz", "b.mha"):
        write_volume(tmp_path / name, np.zeros(grid.shape, np.int16), grid)
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "c.nii").write_bytes(content[:60])
    facts: dict[str, Any] = json.loads(inspect(tmp_path, "--json"))
    assert [each["name"] for each in facts["images"]] == ["a", "b", "c"]
    assert "damaged" in facts["images"][2]["problem"]
    assert facts["images"][0]["spacing_mm"] == [1, 1, 1]


def test_a_dataset_is_told_by_its_folders(failing: Run, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        write_volume(tmp_path / folder / "a.nii.gz", np.zeros((4, 5, 6), np.int16), Geometry((4, 5, 6), np.eye(4)))
    assert "no image in it; but in images, labels: name one of these" in failing(tmp_path)


def test_a_picture_is_told_in_pixels(inspect: Run, data_dir: Path) -> None:
    told = inspect(sorted((data_dir / "drive" / "training" / "images").iterdir())[0])
    assert "565 x 584 pixels, 3 channels, uint8" in told and " mm" not in told


def test_pictures_have_no_spacing_where_they_tell_none(inspect: Run, data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "drive" / "training" / "images"
    facts = json.loads(inspect(folder, "--json"))["images"]
    assert {(*each["shape"], each["spacing_mm"]) for each in facts} == {(565, 584, None)}
    told = inspect(folder)
    assert "565 x 584 " in told and "584 x 1" not in told and "1 x 1" not in told
    assert json.loads(inspect(sorted(folder.iterdir())[0], "--json"))["spacing_mm"] is None

    for name, inch_mm in (("a", 25.4 * 4), ("b", 25.4 * 2)):  # 0.25 and 0.5 mm
        Picture.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / f"{name}.png", dpi=(inch_mm, inch_mm))
    facts = json.loads(inspect(tmp_path, "--json"))["images"]
    assert [each["spacing_mm"] for each in facts] == [pytest.approx([mm, mm], abs=1e-3) for mm in (0.25, 0.5)]


def test_labels_of_a_picture_have_pixels_and_no_volume(inspect: Run, tmp_path: Path) -> None:
    labels = np.zeros((60, 80, 1), np.uint8)
    labels[2:4, 3:6] = 1
    write_labels(tmp_path / "a.png", labels, Geometry(labels.shape, np.eye(4)), classes=[LabelClass(1, "cell")])
    assert "1 cell: 6 pixels" in inspect(tmp_path / "a.png")
    assert json.loads(inspect(tmp_path / "a.png", "--json"))["labels"] == [
        {"value": 1, "name": "cell", "voxels": 6, "volume_ml": None}
    ]


def test_an_unknown_palette_is_found(inspect: Run, data_dir: Path, tmp_path: Path) -> None:
    told = inspect(data_dir / "blood_cells_rgb" / "labels", "--palette", tmp_path / "p.csv")
    assert "10 colours" in told and "255, 225, 0" in told
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 11


def test_a_palette_that_somebody_made_is_not_replaced(failing: Run, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("name,r,g,b\n")
    told = failing(data_dir / "blood_cells_rgb" / "labels", "--palette", tmp_path / "p.csv")
    assert "p.csv: is there already, and is not replaced" in told
    assert (tmp_path / "p.csv").read_text() == "name,r,g,b\n"


def test_what_cannot_be_read_is_one_line(failing: Run, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_text("no image")
    assert failing(tmp_path / "a.nii.gz").startswith(f"medseg: error: {tmp_path}/a.nii.gz: ")
    assert "does not exist" in failing(tmp_path / "nowhere")
    assert "a slice is missing" in failing(data_dir / "dicom_qa" / "missing_slice_ct" / "dicom")


def test_no_identifier_is_told(inspect: Run, data_dir: Path) -> None:
    import pydicom

    folder = data_dir / "dicom_qa" / "brain_flair_oblique" / "dicom"
    told = inspect(folder) + inspect(folder, "--json")
    header = pydicom.dcmread(next(folder.iterdir()))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
        value = str(header.get(keyword) or "")
        assert not value or value not in told
