"""Scans to segmentations by a bundle: on the scan's grid, one row per case, and what fails is told."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from monai.transforms import LoadImage

from medseg.bundle.run import run_bundle
from medseg.errors import MedsegError, OutputError
from medseg.images import read_geometry, read_image, read_label, write_volume
from medseg.images.reader import Reader
from medseg.inference.cascade import Coarse
from medseg.inference.scan import Scan, as_volume

Predict = Callable[..., Any]


@pytest.fixture
def predict(tiny_bundle: Path, tmp_path: Path) -> Predict:
    def run(input: Path, **overrides: Any) -> Any:
        given = {"input": str(input), "output_dir": str(tmp_path / "out")}
        workflow = run_bundle(tiny_bundle, "inference.yaml", overrides=given | overrides)
        return workflow.parser.get_parsed_content("evaluator")

    return run


def test_every_label_map_lies_on_its_scan(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    predict(phantom / "images")
    scans = sorted((phantom / "images").iterdir())
    orientations = set()
    for scan in scans:
        segmentation = read_image(tmp_path / "out" / scan.name)
        geometry = read_geometry(scan)
        orientations.add(geometry.orientation)
        assert segmentation.geometry.agrees_with(geometry, tolerance_mm=1e-3)
        assert segmentation.array.dtype == np.uint8
        assert (tmp_path / "out" / scan.name.replace(".nii.gz", "_preview.png")).is_file()
    assert len(scans) == 6 and len(orientations) > 1


def test_row_of_a_case_holds_volumes_stages_and_verdict(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    predict(phantom / "images" / "case_001.nii.gz")
    (record,) = json.loads((tmp_path / "out" / "results.json").read_text())
    segmentation = read_image(tmp_path / "out" / "case_001.nii.gz")
    for value, name in {1: "liver", 2: "spleen", 3: "kidneys"}.items():
        voxels = int((segmentation.array == value).sum())
        assert record["voxels"][name] == voxels
        assert record["volume_ml"][name] == pytest.approx(voxels * segmentation.geometry.voxel_volume_ml, abs=1e-3)
        assert (f"no {name} found" in record["reasons"]) == (voxels == 0)
    assert set(record["seconds"]) == {"read", "preprocess", "network", "restore", "write"}
    assert all(seconds >= 0 for seconds in record["seconds"].values()) and record["error"] is None
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["case"] == "case_001" and float(row["volume_ml:liver"]) == record["volume_ml"]["liver"]


def test_dicom_series_gets_a_label_map_in_its_place(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    (row,) = predict(phantom / "dicom_case").rows
    segmentation = read_image(tmp_path / "out" / "dicom_case.nii.gz")
    assert segmentation.geometry.agrees_with(read_geometry(phantom / "dicom_case"), tolerance_mm=1e-3)
    assert not any("modality" in reason for reason in row.verdict.reasons)


def test_dicom_series_gets_a_dicom_seg_of_the_same_voxels(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    predict(phantom / "dicom_case")
    written = read_image(tmp_path / "out" / "dicom_case.nii.gz")
    seg = read_label(tmp_path / "out" / "dicom_case.dcm", grid=read_geometry(phantom / "dicom_case"))
    named = {each.name: each.value for each in seg.classes}
    for each in written.classes:
        found = seg.array == named[each.name] if each.name in named else np.zeros(seg.array.shape, bool)
        np.testing.assert_array_equal(found, written.array == each.value)
    assert {each.name for each in written.classes} == {"liver", "spleen", "kidneys"}
    header = pydicom.dcmread(tmp_path / "out" / "dicom_case.dcm")
    slices = [pydicom.dcmread(each, stop_before_pixels=True) for each in (phantom / "dicom_case").iterdir()]
    assert header.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    referenced = header.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {each.ReferencedSOPInstanceUID for each in referenced} == {each.SOPInstanceUID for each in slices}
    assert header.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmName


def test_scan_of_which_no_dicom_seg_can_be_made_has_its_label_map(
    predict: Predict, phantom: Path, tmp_path: Path
) -> None:
    (tmp_path / "series").mkdir()
    for file in (phantom / "dicom_case").iterdir():
        dataset = pydicom.dcmread(file)
        del dataset.StudyInstanceUID
        dataset.save_as(tmp_path / "series" / file.name)
    (row,) = predict(tmp_path / "series").rows
    assert sorted(row.files) == ["series.nii.gz", "series_preview.png"]
    assert any("no DICOM SEG: " in each and "StudyInstanceUID" in each for each in row.warnings)
    assert not (tmp_path / "out" / "series.dcm").exists()


def test_probabilities_are_written_where_asked(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    predict(phantom / "images" / "case_001.nii.gz", save_probabilities=True)
    labels = read_image(tmp_path / "out" / "case_001.nii.gz")
    probabilities = read_image(tmp_path / "out" / "case_001_probabilities.nii.gz")
    assert probabilities.geometry.agrees_with(labels.geometry)
    np.testing.assert_allclose(probabilities.array.sum(axis=3), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.array.argmax(axis=3), labels.array)


def test_foreign_modality_is_to_be_reviewed(predict: Predict, data_dir: Path) -> None:
    (row,) = predict(data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom").rows
    assert row.verdict.word == "review"
    assert row.verdict.reasons[0] == "the scan's modality is MR; this bundle was trained on CT"


def test_step_that_does_not_fit_the_scan_is_told_before_the_network_runs(predict: Predict, phantom: Path) -> None:
    steps = [{"minimum_mm2": {"liver": 10}}]
    with pytest.raises(MedsegError, match="minimum_mm2: the image is a volume"):
        predict(
            phantom / "images" / "case_001.nii.gz",
            **{"postprocessing::steps": steps, "inferer": "$lambda *_, **__: 1 / 0"},
        )


def test_channels_that_the_bundle_does_not_take_are_told(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    scan = read_image(phantom / "images" / "case_001.nii.gz")
    write_volume(tmp_path / "two.nii.gz", np.stack([scan.array, scan.array], axis=3), scan.geometry)
    with pytest.raises(MedsegError, match=r"two\.nii\.gz: has 2 channels; this bundle takes 1: "):
        predict(tmp_path / "two.nii.gz")


def test_damaged_case_is_told_and_the_others_go_on(predict: Predict, phantom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("case_001.nii.gz", "case_002.nii.gz"):
        (folder / name).write_bytes((phantom / "images" / name).read_bytes())
    content = (folder / "case_001.nii.gz").read_bytes()
    (folder / "case_001.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(MedsegError, match=r"1 of 2 cases failed; the first: .*case_001\.nii\.gz: truncated or damaged"):
        predict(folder)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".medseg",
        "case_002.nii.gz",
        "case_002_preview.png",
        "results.csv",
        "results.json",
    ]
    records = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [bool(record["error"]) for record in records] == [True, False]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"input": "nowhere"}, "nowhere: does not exist"),
        ({"checkpoint": "nowhere.pt"}, "nowhere.pt: no weights there"),
        ({"output_dir": "/proc/nowhere"}, "/proc/nowhere"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
    ],
)
def test_bad_value_is_one_clear_error(predict: Predict, phantom: Path, overrides: Any, message: str) -> None:
    given = {"input": phantom / "images" / "case_001.nii.gz", **overrides}
    with pytest.raises(MedsegError) as caught:
        predict(**given)
    assert message in str(caught.value)


def test_missing_input_says_how_to_give_it(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(MedsegError, match="no input given: use --input"):
        run_bundle(tiny_bundle, "inference.yaml", overrides={"output_dir": str(tmp_path)})


def test_input_may_be_given_by_monais_name_and_entries_by_their_image_alone(
    tiny_bundle: Path, phantom: Path, tmp_path: Path
) -> None:
    scan = str(phantom / "images" / "case_001.nii.gz")
    ways: list[dict[str, Any]] = [{"dataset_dir": scan}, {"dataset::data": [{"image": scan}]}]
    for number, given in enumerate(ways):
        run_bundle(tiny_bundle, "inference.yaml", overrides={**given, "output_dir": str(tmp_path / f"{number}")})
        assert (tmp_path / f"{number}" / "case_001.nii.gz").is_file()
    with pytest.raises(MedsegError, match=r"dataset::data: an entry has picture, and no 'image': expected image, each"):
        run_bundle(tiny_bundle, "inference.yaml", overrides={"dataset::data": [{"picture": scan}]})
    with pytest.raises(MedsegError, match=r"an entry has image, label, and no 'truth': expected image and truth, each"):
        run_bundle(tiny_bundle, "evaluate.yaml", overrides={"dataset::data": [{"image": scan, "label": scan}]})


def test_monais_postprocessing_in_the_place_of_the_bundles_is_told(predict: Predict, phantom: Path) -> None:
    given = {"_target_": "Compose", "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}]}
    with pytest.raises(MedsegError, match="postprocessing: Compose cannot stand there; its `steps` take what is done"):
        predict(phantom / "images" / "case_001.nii.gz", postprocessing=given)


def test_evaluation_equals_the_scores_of_the_written_files(tiny_bundle: Path, phantom: Path, tmp_path: Path) -> None:
    from medseg.metrics import score_case

    overrides = {
        "dataset_dir": str(phantom),
        "output_dir": str(tmp_path),
        "fold": "all",
        "max_cases": 2,
        "save_segmentations": True,
        "tracked": False,
    }
    run_bundle(tiny_bundle, "evaluate.yaml", overrides=overrides)
    summary = json.loads((tmp_path / "summary.json").read_text())
    names = {1: "liver", 2: "spleen", 3: "kidneys"}
    livers = []
    for case in ("case_001.nii.gz", "case_004.nii.gz"):  # two of six, evenly spaced
        label, mine = read_image(phantom / "labels" / case), read_image(tmp_path / case)
        scores = score_case(
            label.array, mine.array, spacing=label.geometry.spacing, class_names=names, tolerance_mm=2.0
        )
        livers.append(scores[0].dice)
    assert summary["cases"] == 2
    assert summary["classes"]["liver"]["dice"]["mean"] == pytest.approx(np.mean([x for x in livers if x is not None]))
    with (tmp_path / "cases.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 6


def test_labels_are_not_overwritten_by_what_is_measured_against_them(
    tiny_bundle: Path, phantom: Path, tmp_path: Path
) -> None:
    shutil.copytree(phantom, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "labels" / "case_001.nii.gz").read_bytes()
    overrides = {
        "dataset_dir": str(tmp_path),
        "output_dir": str(tmp_path / "labels"),
        "fold": "all",
        "save_segmentations": True,
        "tracked": False,
    }
    with pytest.raises(OutputError, match=r"labels: holds case_00\d.nii.gz itself; choose another folder"):
        run_bundle(tiny_bundle, "evaluate.yaml", overrides=overrides)
    assert (tmp_path / "labels" / "case_001.nii.gz").read_bytes() == before


def test_cascade_is_measured_as_it_predicts(
    tiny_bundle: Path, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Coarse, "region", lambda *_: (slice(20, 21), slice(10, 11), slice(5, 6)))
    overrides = {"dataset_dir": str(phantom), "output_dir": str(tmp_path), "max_cases": 1, "tracked": False}
    given = overrides | {"coarse": str(tiny_bundle), "save_segmentations": True}
    run_bundle(tiny_bundle, "evaluate.yaml", overrides=given)
    (found,) = tmp_path.glob("case_*.nii.gz")
    assert np.count_nonzero(read_image(found).array) <= 1


def test_evaluation_takes_the_validation_cases_of_the_fold(tiny_bundle: Path, phantom: Path, tmp_path: Path) -> None:
    overrides = {"dataset_dir": str(phantom), "output_dir": str(tmp_path), "fold": 4, "tracked": False}
    run_bundle(tiny_bundle, "evaluate.yaml", overrides=overrides)
    with (tmp_path / "cases.csv").open(newline="") as stream:
        assert {row["case"] for row in csv.DictReader(stream)} == {"case_005", "case_006"}


def test_single_slice_of_any_plane_is_a_volume_for_a_bundle_of_volumes(
    predict: Predict, data_dir: Path, tmp_path: Path
) -> None:
    series = data_dir / "dicom_qa" / "single_slice" / "dicom"
    predict(series)
    assert read_geometry(tmp_path / "out" / "dicom.nii.gz").agrees_with(read_geometry(series), tolerance_mm=1e-2)


def test_picture_in_any_plane_has_its_pixels_sizes_and_its_place(tmp_path: Path) -> None:
    turned = np.array([[0, 0, 1.0, 5], [0.5 * np.cos(0.7), -0.4 * np.sin(0.7), 0, 6], [0, 0, 0, 0], [0, 0, 0, 1]])
    turned[2, :2] = 0.5 * np.sin(0.7), 0.4 * np.cos(0.7)
    nib.save(nib.Nifti1Image(np.ones((7, 6), np.int16), turned), tmp_path / "a.nii.gz")
    image = LoadImage(reader=Reader, ensure_channel_first=True)(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(np.linalg.norm(image.affine[:2, :2], axis=0), [0.5, 0.4], atol=1e-6)
    assert Scan.of(image).geometry.agrees_with(read_geometry(tmp_path / "a.nii.gz"))
    assert Scan.of(as_volume(image)).geometry.agrees_with(read_geometry(tmp_path / "a.nii.gz"))
