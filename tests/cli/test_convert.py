"""`medseg convert`: voxels and their place stay, whatever the format."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Picture

from medseg.cli.main import main
from medseg.images import Geometry, read_geometry, read_image, read_label, write_labels, write_volume
from medseg.types import LabelClass

Run = Callable[..., str]
LPS = np.diag([-1.0, -1, 1, 1])
AFFINE = np.array([[-2.0, 0, 0, 10], [0, 0, 3, 20], [0, 1.5, 0, 30], [0, 0, 0, 1]])
GRID = Geometry((4, 5, 6), AFFINE)
CLASSES = (LabelClass(1, "liver", (230, 25, 75)), LabelClass(2, "spleen", (60, 180, 250)))


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; gives what stood on stderr."""

    def run(*words: object, fails: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", ["medseg", "convert", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code == 1) if fails else not ended.value.code, printed.err
        assert not fails or (printed.err.count("\n") == 1 and not printed.out)
        return printed.err

    return run


def as_itk_has_it(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels `(i, j, k)` and affine (RAS+ mm) by SimpleITK."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, LPS @ affine


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_series_has_its_voxels_in_their_place_for_other_readers(
    convert: Run, data_dir: Path, tmp_path: Path, suffix: str
) -> None:
    source = data_dir / "dicom_qa" / "brain_flair_oblique" / "dicom"
    convert(source, tmp_path / f"a{suffix}")
    scan = read_image(source)
    voxels, affine = as_itk_has_it(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(voxels, scan.array)
    np.testing.assert_allclose(affine, scan.geometry.affine, atol=1e-3)
    if suffix.startswith(".nii"):
        np.testing.assert_allclose(nib.load(tmp_path / f"a{suffix}").affine, scan.geometry.affine, atol=1e-3)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".tif"])
def test_back_and_forth_nothing_changes(convert: Run, tmp_path: Path, suffix: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 999, GRID.shape).astype(np.uint16)
    write_volume(tmp_path / "a.nii", voxels, GRID)
    convert(tmp_path / "a.nii", tmp_path / f"b{suffix}")
    convert(tmp_path / f"b{suffix}", tmp_path / "c.nii")
    back = read_image(tmp_path / "c.nii")
    np.testing.assert_array_equal(back.array, voxels)
    assert back.array.dtype == voxels.dtype
    assert back.geometry.agrees_with(GRID)


def test_a_label_becomes_a_segmentation_of_its_series_and_back(convert: Run, data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom"
    grid = read_geometry(source)
    labels = np.zeros(grid.shape, np.uint8)
    labels[5:9, 6:20, 3:9], labels[10:14, 6:20, 3:9] = 1, 2
    write_labels(tmp_path / "a.nii.gz", labels, grid, classes=CLASSES)
    convert(tmp_path / "a.nii.gz", tmp_path / "seg.dcm", "--image", source)
    convert(tmp_path / "seg.dcm", tmp_path / "b.nii.gz", "--image", source)
    back = read_image(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(back.array, labels)
    assert back.geometry.agrees_with(grid) and [each.name for each in back.classes] == ["liver", "spleen"]


def test_values_that_a_segmentation_numbers_anew_are_told(convert: Run, data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom"
    grid = read_geometry(source)
    labels = np.zeros(grid.shape, np.uint8)
    labels[5:9, 6:20, 3:9] = np.array([1, 5, 7, 200], np.uint8)[:, None, None]
    write_labels(tmp_path / "gaps.nii.gz", labels, grid)
    told = convert(tmp_path / "gaps.nii.gz", tmp_path / "seg.dcm", "--image", source)
    assert "segments are numbered 1, 2, 3, ...: value 5 became 2, 7 became 3, 200 became 4\n" in told
    back = read_label(tmp_path / "seg.dcm", grid=grid).array
    np.testing.assert_array_equal(back, np.searchsorted([0, 1, 5, 7, 200], labels))

    write_labels(tmp_path / "whole.nii.gz", back, grid)
    assert convert(tmp_path / "whole.nii.gz", tmp_path / "again.dcm", "--image", source) == ""


def test_a_label_that_another_tool_turned_becomes_the_same_segmentation(
    convert: Run, data_dir: Path, tmp_path: Path
) -> None:
    source = data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom"
    grid = read_geometry(source)
    labels = np.zeros(grid.shape, np.uint8)
    labels[5:9, 6:20, 3:9] = 1
    nib.save(nib.as_closest_canonical(nib.Nifti1Image(labels, grid.affine)), tmp_path / "ras.nii.gz")
    convert(tmp_path / "ras.nii.gz", tmp_path / "seg.dcm", "--image", source)
    np.testing.assert_array_equal(read_label(tmp_path / "seg.dcm", grid=grid).array, labels)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii"])
def test_what_belongs_to_an_image_is_a_label_on_its_grid(
    convert: Run, data_dir: Path, tmp_path: Path, suffix: str
) -> None:
    source = data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom"
    grid = read_geometry(source)
    labels = np.zeros(grid.shape, np.uint8)
    labels[5:9, 6:20, 3:9] = 1
    nib.save(nib.as_closest_canonical(nib.Nifti1Image(labels.astype(np.float32), grid.affine)), tmp_path / "ras.nii")
    convert(tmp_path / "ras.nii", tmp_path / f"a{suffix}", "--image", source)
    back = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.array, labels)
    assert back.array.dtype == np.uint8 and back.geometry.agrees_with(grid)

    write_labels(tmp_path / "other.nii", labels, Geometry(labels.shape, np.eye(4)))
    told = convert(tmp_path / "other.nii", tmp_path / f"b{suffix}", "--image", source, fails=True)
    assert "other.nii: not on the grid of its image: " in told


def test_contours_become_a_label_map(convert: Run, data_dir: Path, tmp_path: Path) -> None:
    case = data_dir / "dicom_qa" / "rtstruct_phantom"
    convert(case / "rtstruct" / "rt.dcm", tmp_path / "a.nii.gz", "--image", case / "dicom")
    voxels, affine = as_itk_has_it(tmp_path / "a.nii.gz")
    assert voxels.sum() == 1443
    np.testing.assert_allclose(affine, read_geometry(case / "dicom").affine, atol=1e-3)


def test_structures_that_overlap_are_taken_one_at_a_time(convert: Run, data_dir: Path, tmp_path: Path) -> None:
    case = data_dir / "dicom_qa" / "seg_liver_ct"
    source = [case / "seg" / "partial_overlaps.dcm", tmp_path / "a.nii", "--image", case / "dicom"]
    assert "take one with --structure: 1 'GREEN', 2 'ORANGE', 3 'PURPLE', 4 " in convert(*source, fails=True)
    expected = sum((sitk.GetArrayFromImage(sitk.ReadImage(str(each))) == 3).T for each in (case / "ref").glob("part*"))
    for structure in ("PURPLE", "3"):
        convert(*source, "--structure", structure)
        found = read_image(tmp_path / "a.nii")
        np.testing.assert_array_equal(found.array, expected * 3)
        assert [(each.value, each.name) for each in found.classes] == [(3, "PURPLE")]
    assert "partial_overlaps.dcm: 0 structures are 'liver'; it has 1 'GREEN', 2 " in convert(
        *source, "--structure", "liver", fails=True
    )


def test_one_structure_of_a_label_map_is_taken(convert: Run, tmp_path: Path) -> None:
    labels = np.arange(120, dtype=np.uint8).reshape(GRID.shape) % 3
    write_labels(tmp_path / "a.nii", labels, GRID, classes=CLASSES)
    convert(tmp_path / "a.nii", tmp_path / "b.nii", "--structure", "spleen")
    np.testing.assert_array_equal(read_image(tmp_path / "b.nii").array, np.where(labels == 2, 2, 0))


def test_colours_become_values_and_values_colours(convert: Run, data_dir: Path, tmp_path: Path) -> None:
    warned = ""
    for label in sorted((data_dir / "blood_cells_rgb" / "labels").iterdir()):
        warned += convert(label, tmp_path / "a.nii.gz", "--palette", data_dir / "blood_cells_rgb" / "palette.csv")
        convert(tmp_path / "a.nii.gz", tmp_path / "b.png")
        drawn, original = (np.asarray(Picture.open(each).convert("RGB")) for each in (tmp_path / "b.png", label))
        assert drawn.shape == original.shape and (drawn == original).all(axis=2).mean() > 0.98
    assert "are off the palette and took the nearest colour's value" in warned


def test_cells_drawn_black_on_white_are_the_structure(convert: Run, data_dir: Path, tmp_path: Path) -> None:
    mask = np.full((6, 8), 255, np.uint8)
    mask[2:4, 3:6] = 0
    Picture.fromarray(mask).save(tmp_path / "mask.png")
    convert(tmp_path / "mask.png", tmp_path / "a.nii.gz", "--mask", "black")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").array[:, :, 0].T, mask == 0)


def test_nan_is_replaced_where_asked(convert: Run, tmp_path: Path) -> None:
    voxels = np.ones(GRID.shape, np.float32)
    voxels[0, 0, 0], voxels[1, 1, 1] = np.nan, np.inf
    write_volume(tmp_path / "a.nii", voxels, GRID)
    assert "2 voxels are NaN, infinite or beyond float32; replace them" in convert(
        tmp_path / "a.nii", tmp_path / "b.nii", fails=True
    )
    assert "they were replaced by -7" in convert(tmp_path / "a.nii", tmp_path / "b.nii", "--nan", "-7")
    assert (read_image(tmp_path / "b.nii").array == -7).sum() == 2
    assert "they were replaced by 2" in convert(tmp_path / "a.nii", tmp_path / "c.nii", "--nan", "2", "--label")
    labels = read_image(tmp_path / "c.nii").array
    assert labels.dtype == np.uint8 and (labels == 2).sum() == 2 and (labels == 1).sum() == labels.size - 2


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e39"])
def test_nan_is_not_replaced_by_what_is_none(convert: Run, tmp_path: Path, word: str) -> None:
    write_volume(tmp_path / "a.nii", np.full(GRID.shape, np.nan, np.float32), GRID)
    told = convert(tmp_path / "a.nii", tmp_path / "b.nii", "--nan", word, fails=True)
    assert f"--nan {float(word):g}: is replaced itself; give a number that float32 has, such as 0" in told
    assert not (tmp_path / "b.nii").exists()


def contents(folder: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.nii", "a.nii"], "a.nii: is read, and would be written over; choose another name"),
        (["a.nii", "./study/../a.nii"], "a.nii: is read"),
        (["a.nii", "again/a.nii", "--label"], "a.nii: is read"),
        (["seg.dcm", "seg.dcm", "--image", "scan"], "seg.dcm: is read"),
        (["a.nii", "slice.dcm", "--image", "slice.dcm"], "slice.dcm: is read"),
        (["a.nii", "scan/002.dcm", "--image", "scan"], "002.dcm: lies among the slices of scan; choose another folder"),
        (["a.nii", "scan/new.dcm", "--image", "study"], "new.dcm: lies among the slices of study"),
        (["study", "study/scan/new.nii"], "new.nii: lies among the slices of study"),
        (["scan::1", "scan/002.dcm", "--image", "scan"], "002.dcm: lies among the slices of scan"),
    ],
)
def test_nothing_that_is_read_is_written_over(
    convert: Run, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    series = data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom"
    for number, slice_ in enumerate(sorted(series.iterdir()), 1):
        Path("study/scan").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(slice_, f"study/scan/{number:03d}.dcm")
    Path("scan").symlink_to("study/scan")
    Path("again").symlink_to(tmp_path)
    shutil.copyfile("scan/002.dcm", "slice.dcm")
    write_labels("a.nii", np.ones(read_geometry("scan").shape, np.uint8), read_geometry("scan"))
    convert("a.nii", "seg.dcm", "--image", "scan")
    before = contents(tmp_path)
    assert message in convert(*words, fails=True)
    assert contents(tmp_path) == before


def test_a_volume_may_lie_beside_the_folders_of_its_study(convert: Run, data_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom", tmp_path / "study" / "scan")
    convert(tmp_path / "study", tmp_path / "study" / "scan.nii.gz")
    assert read_geometry(tmp_path / "study" / "scan.nii.gz").agrees_with(read_geometry(tmp_path / "study"))


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha", ".tif"])
@pytest.mark.parametrize("turned", [False, True])
def test_numbers_that_float32_does_not_hold_are_told(
    convert: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, turned: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    voxels = np.arange(120.0).reshape(GRID.shape)
    write_volume(f"held{suffix}", voxels, GRID)
    assert convert(f"held{suffix}", "b.nii") == ""
    voxels[0, 0, :2], voxels[3, 4, 5] = 16777217, 0.1
    order = "F" if turned else "C"
    write_volume(f"a{suffix}", np.array(voxels, order=order), GRID)
    told = convert(f"a{suffix}", "b.nii")
    assert told.endswith("3 voxels have more digits than the 7 of float32, in which they are read, and were rounded\n")
    np.testing.assert_array_equal(read_image("b.nii").array, voxels.astype(np.float32))

    voxels[1, 1, 1] = np.nan  # changed too, which is told already
    write_volume(f"a{suffix}", voxels, GRID)
    assert ": 3 voxels have" in convert(f"a{suffix}", "b.nii", "--nan", "0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.nii", "b.xyz"], "b.xyz: no format that can be written"),
        (["a.nii", "b.dcm"], "b.dcm: a DICOM SEG refers to the images it was made on; name them with --image"),
        (["cut.nii", "b.nii"], "cut.nii: "),
        (["nowhere", "b.nii"], "nowhere: does not exist"),
        (["a.nii", "b.png"], "b.png: "),
        (["a.nii", "file/b.nii"], "file/b.nii: cannot be written"),
        (["fraction.nii", "b.nii", "--label"], "fraction.nii: "),
        (["a.nii", "b.nii", "--mask", "black", "--palette", "p.csv"], "--mask and --palette: a label has two colours"),
        (["a.nii", "b.dcm", "--image", "a.nii"], "a.nii: "),
        (["ignored.nii", "b.nii", "--label"], "ignored.nii: labels from -1 to 3, a label map holds 0 to 65535; give"),
        (["high.nii", "b.png", "--label"], "high.nii: labels from 0 to 70000, a label map holds 0 to 65535; give"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    convert: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_volume("a.nii", np.zeros(GRID.shape, np.int16), GRID)
    write_volume("fraction.nii", np.full(GRID.shape, 0.5, np.float32), GRID)
    for name, value in (("ignored", -1), ("high", 70000)):
        labels = np.arange(120, dtype=np.int32).reshape(GRID.shape) % 4
        labels[0, 0, 0] = value
        write_volume(f"{name}.nii", labels, GRID)
    Path("cut.nii").write_bytes(Path("a.nii").read_bytes()[:400])
    Path("file").write_text("in the way")
    before = sorted(tmp_path.iterdir())
    assert message in convert(*words, fails=True)
    assert sorted(tmp_path.iterdir()) == before
