"""A coarse model shows the region, a fine one segments what lies there."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import LoadImage

from medseg.bundle.run import run_bundle
from medseg.errors import BundleError, ConfigError
from medseg.images import read_image
from medseg.images.reader import Reader
from medseg.inference.budget import Budget
from medseg.inference.cascade import Coarse
from medseg.inference.scan import Scan, Segmented
from medseg.inference.segmenter import Segmenter
from medseg.inference.stages import Stages

MARGIN_MM = 6.0
Predict = Callable[..., Path]


@pytest.fixture
def predict(tiny_bundle: Path, tmp_path: Path) -> Predict:
    def run(input: Path, name: str, **overrides: Any) -> Path:
        given = {"input": str(input), "output_dir": str(tmp_path / name)}
        run_bundle(tiny_bundle, "inference.yaml", overrides=given | overrides)
        return tmp_path / name

    return run


@pytest.fixture
def scan(phantom: Path) -> Path:
    return phantom / "images" / "case_002.nii.gz"


def row(folder: Path) -> Mapping[str, str]:
    with (folder / "results.csv").open(newline="") as stream:
        (found,) = csv.DictReader(stream)
    return found


def test_region_is_segmented_as_if_the_scan_ended_there(
    predict: Predict, tiny_bundle: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = (slice(20, 80), slice(10, 60), slice(5, 29))
    monkeypatch.setattr(Coarse, "region", lambda *_: region)
    folder = predict(scan, "cascade", coarse=str(tiny_bundle), save_probabilities=True)
    found = read_image(folder / scan.name).array
    nib.save(nib.load(scan).slicer[region], tmp_path / "part.nii.gz")
    part = read_image(predict(tmp_path / "part.nii.gz", "part") / "part.nii.gz").array
    assert part.any() and np.array_equal(found[region], part)
    outside = np.ones(found.shape, bool)
    outside[region] = False
    assert not found[outside].any()
    probabilities = nib.load(folder / "case_002_probabilities.nii.gz").get_fdata()
    assert (probabilities[outside][:, 0] == 1).all() and not probabilities[outside][:, 1:].any()
    assert np.allclose(probabilities.sum(-1), 1, atol=1e-3)
    assert "reaches the border of the region" in row(folder)["reasons"]  # so little trained, it finds something there


@pytest.mark.parametrize(
    ("classes", "first", "last"), [(["liver"], (10, 10, 10), (30, 20, 15)), (None, (10, 10, 3), (30, 20, 15))]
)
def test_region_is_the_box_of_the_classes_with_a_margin_within_the_scan(
    tiny_bundle: Path,
    scan: Path,
    monkeypatch: pytest.MonkeyPatch,
    classes: list[str] | None,
    first: tuple[int, ...],
    last: tuple[int, ...],
) -> None:
    image = LoadImage(reader=Reader, ensure_channel_first=True)(scan)
    known = Scan.of(image)
    labels = np.zeros(known.geometry.shape, np.uint8)
    labels[10, 10, 10], labels[29, 19, 14], labels[12, 12, 3] = 1, 1, 2
    monkeypatch.setattr(Segmenter, "segmented", lambda *_: Segmented(known, labels))
    cpu = torch.device("cpu")
    coarse = Coarse(
        str(tiny_bundle),
        classes=classes,
        margin_mm=MARGIN_MM,
        device=cpu,
        precision="fp32",
        backend="torch",
        images=1,
        budget=Budget(cpu, None, None),
    )
    margin = np.ceil(MARGIN_MM / np.array(known.geometry.spacing))
    expected = [
        (max(0, start - more), min(stop + more, length))
        for start, stop, more, length in zip(first, last, margin, labels.shape, strict=True)
    ]
    region = coarse.region(known, image, Stages())
    assert region is not None and [(each.start, each.stop) for each in region] == expected
    labels[:] = 0
    assert coarse.region(known, image, Stages()) is None


def test_where_nothing_is_found_the_whole_scan_is_searched(
    predict: Predict, tiny_bundle: Path, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Coarse, "region", lambda *_: None)
    found = predict(scan, "cascade", coarse=str(tiny_bundle))
    assert np.array_equal(read_image(found / scan.name).array, read_image(predict(scan, "fine") / scan.name).array)
    assert row(found)["verdict"] == "review" and "found nothing" in row(found)["reasons"]


@pytest.mark.parametrize(
    ("coarse", "kind", "message"),
    [
        ("no_such_bundle", BundleError, "no_such_bundle"),
        ({"bundle": "phantom_ct_3d", "classes": ["lung"]}, ConfigError, "some of liver, spleen, kidneys"),
        ({"bundle": "phantom_ct_3d", "classes": "liver"}, ConfigError, "expected a list"),
        ({"bundle": "phantom_ct_3d", "classes": 3}, ConfigError, "expected a list"),
        ({"bundle": "phantom_ct_3d", "margin_mm": -1}, ConfigError, "margin_mm -1"),
        ({"bundle": "phantom_ct_3d", "margin_mm": "a"}, ConfigError, "margin_mm 'a': expected a number"),
        ({"bundle": "phantom_ct_3d", "checkpoint": []}, ConfigError, "checkpoint .*: expected the path"),
        ({"bundle": "phantom_ct_3d", "margin": 1}, ConfigError, "mapping of bundle, checkpoint, classes, margin_mm"),
        ({"classes": ["liver"]}, ConfigError, "mapping of bundle"),
    ],
)
def test_bad_coarse_model_is_one_clear_error(
    predict: Predict, tiny_bundle: Path, scan: Path, coarse: Any, kind: type[Exception], message: str
) -> None:
    if isinstance(coarse, dict) and "bundle" in coarse:
        coarse = coarse | {"bundle": str(tiny_bundle)}
    with pytest.raises(kind, match=message):
        predict(scan, "out", coarse=coarse)
