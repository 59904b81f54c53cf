"""The fingerprint that a training leaves beside its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged, SpatialPadd

from medseg.bundle import class_names, label_classes, load_config
from medseg.bundle.pack import pack
from medseg.bundle.run import find_bundle
from medseg.data import find_cases
from medseg.images import read_geometry, read_label
from medseg.inference.quality.fingerprint import Fingerprint, fingerprint_beside
from medseg.training.survey import Survey

METADATA = load_config(find_bundle("phantom_ct_3d") / "configs" / "metadata.json")
LOAD = LoadImaged(keys=["image", "label"], reader="medseg.images.reader.Reader", ensure_channel_first=True)


def surveyed(folder: Path, weights: Path, *, copies: int = 1) -> Fingerprint | None:
    entries = [{"image": str(each.images[0]), "label": str(each.labels[0])} for each in find_cases(folder)] * copies
    later = SpatialPadd(keys=["image", "label"], spatial_size=400)
    with Survey(entries, Compose([LOAD, later]), class_names(METADATA), weights) as survey:
        survey.weights_saved()
    return fingerprint_beside(weights, label_classes(METADATA))


def test_fingerprint_holds_the_ranges_of_the_files_as_they_are(phantom: Path, tmp_path: Path) -> None:
    fingerprint = surveyed(phantom, tmp_path / "model.pt")
    assert fingerprint is not None and fingerprint.cases == 6
    cases = find_cases(phantom)
    grids = [read_geometry(each.images[0]) for each in cases]
    slices = [max(grid.spacing) for grid in grids]  # the phantom's slices are thicker than its pixels are wide
    assert fingerprint.spacing[2] == pytest.approx((min(slices), max(slices)), rel=1e-4)
    for value, name in class_names(METADATA).items():
        labels = [read_label(str(each.labels[0])).array == value for each in cases]
        volumes = [label.sum() * grid.voxel_volume_ml for label, grid in zip(labels, grids, strict=True) if label.any()]
        assert fingerprint.classes[name].size == pytest.approx((min(volumes), max(volumes)), rel=1e-4)
        assert fingerprint.classes[name].cases == len(volumes)


def test_fingerprint_names_no_case_and_no_place(phantom: Path, tmp_path: Path) -> None:
    surveyed(phantom, tmp_path / "model.pt")
    text = (tmp_path / "fingerprint.json").read_text()
    assert "case_" not in text and str(phantom) not in text and "nii" not in text
    assert set(json.loads(text)) == {
        "cases", "spatial_dims", "modalities", "spacing", "extent", "intensities", "classes", "confidence",
    }  # fmt: skip


def test_of_many_cases_two_hundred_are_looked_at(phantom: Path, tmp_path: Path) -> None:
    fingerprint = surveyed(phantom, tmp_path / "model.pt", copies=40)
    assert fingerprint is not None and fingerprint.cases == 200


def test_cases_that_are_looked_at_are_evenly_spaced(tmp_path: Path) -> None:
    """Names are often in the order of hospitals or years."""
    entries = [{"image": f"{number}", "label": f"{number}"} for number in range(400)]
    assert Survey(entries, Compose([LOAD]), {1: "liver"}, tmp_path / "model.pt")._entries == entries[::2]


def test_case_that_cannot_be_read_is_told_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    entry = {"image": str(tmp_path / "bad.nii.gz"), "label": str(tmp_path / "bad.nii.gz")}
    with Survey([entry], Compose([LOAD]), {1: "liver"}, tmp_path / "model.pt") as survey:
        survey.weights_saved()
    assert "no fingerprint of the training cases" in caplog.text
    assert not (tmp_path / "fingerprint.json").exists()


def test_without_weights_there_is_no_fingerprint(phantom: Path, tmp_path: Path) -> None:
    entries = [{"image": str(each.images[0]), "label": str(each.labels[0])} for each in find_cases(phantom)]
    with Survey(entries, Compose([LOAD]), class_names(METADATA), tmp_path / "model.pt"):
        pass
    assert not (tmp_path / "fingerprint.json").exists()


def test_training_that_fails_does_not_wait_for_its_fingerprint(phantom: Path, tmp_path: Path) -> None:
    entries = [{"image": str(each.images[0]), "label": str(each.labels[0])} for each in find_cases(phantom)] * 33
    survey = Survey(entries, Compose([LOAD]), class_names(METADATA), tmp_path / "model.pt")
    with pytest.raises(RuntimeError), survey:
        raise RuntimeError
    assert not (tmp_path / "fingerprint.json").exists()


def test_training_leaves_its_fingerprint_beside_the_weights_in_mlflow_and_in_the_packed_bundle(
    train_phantom: Callable[..., Any], tracking_uri: str, tmp_path: Path
) -> None:
    trainer = train_phantom(tmp_path / "run", max_epochs=1)
    fingerprint = fingerprint_beside(trainer.checkpoint.best_path, label_classes(METADATA))
    assert fingerprint is not None and fingerprint.cases == 5  # of six, one validates
    assert fingerprint.confidence is not None and 0 < fingerprint.confidence[0] <= fingerprint.confidence[1] <= 1
    run_id = trainer.result()["mlflow_run"]
    logged = {each.path for each in mlflow.MlflowClient(tracking_uri).list_artifacts(run_id, "model")}
    assert logged == {"model/model.pt", "model/fingerprint.json"}
    names = pack(find_bundle("phantom_ct_3d"), tmp_path / "out.zip", checkpoint=trainer.checkpoint.best_path)
    assert "phantom_ct_3d/models/fingerprint.json" in names


def test_picture_is_counted_in_pixels(tmp_path: Path) -> None:
    from PIL import Image

    for index in range(2):
        array = np.zeros((20, 30), np.uint8)
        array[5 : 10 + index, 0:7] = 1
        for folder, values in (("images", array * 100 + 50), ("labels", array)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(values).save(tmp_path / folder / f"{index}.png")
    fingerprint = surveyed(tmp_path, tmp_path / "model.pt")
    assert fingerprint is not None
    assert fingerprint.extent == ((30, 30), (20, 20)) and fingerprint.spacing == ()
    assert fingerprint.classes["liver"].size == (35, 42)
    assert fingerprint.classes["liver"].sides == {"left": 2}
