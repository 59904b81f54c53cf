"""Accept or review, and why, in words that a radiographer can act upon."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.bundle.run import find_bundle, run_bundle
from medseg.errors import ConfigError
from medseg.inference.quality.facts import CaseFacts, ClassFacts
from medseg.inference.quality.fingerprint import Fingerprint
from medseg.inference.quality.verdict import Tolerances, Verdict, judge, mean_confidence

SPLEEN = ClassFacts(size=200, components=1, sides=(), brightness=(0.8,))
CASE = CaseFacts(3, "CT", (0.8, 0.8, 3.0), (350, 300, 400), ((-1000, 20, 500),), {"spleen": SPLEEN})


def with_spleen(**facts: Any) -> CaseFacts:
    return replace(CASE, classes={"spleen": replace(SPLEEN, **facts)})


TRAINED = Fingerprint.of(
    [
        *[CASE] * 18,
        replace(with_spleen(size=60), spacing=(0.7, 0.7, 2.0)),
        replace(with_spleen(size=480, sides=("superior",)), extent=(400, 400, 500)),
    ]
)


def verdict(case: CaseFacts, **given: Any) -> Verdict:
    options: dict[str, Any] = {"fingerprint": TRAINED, "confidence": 0.95, "modality": "CT"} | given
    return judge(case, ["spleen"], **options)


def test_case_like_the_training_cases_is_accepted() -> None:
    assert verdict(CASE) == Verdict() and verdict(CASE).word == str(verdict(CASE)) == "accept"


def test_case_a_little_beyond_the_training_cases_is_accepted() -> None:
    slightly = replace(with_spleen(size=550, components=2, brightness=(0.86,)), spacing=(1.1, 1.1, 4.0))
    assert verdict(slightly).word == "accept"


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (with_spleen(size=12), "spleen: 12 mL, the training cases had 60 to 480 mL"),
        (with_spleen(size=700), "spleen: 700 mL, the training cases had 60 to 480 mL"),
        (with_spleen(components=5), "spleen: in 5 pieces, the training cases had 1"),
        (
            with_spleen(sides=("left", "inferior")),
            "spleen: touches the left and inferior border of the image, so part of it may be missing",
        ),
        (
            with_spleen(brightness=(0.3,)),
            "spleen: brighter than 30 % of the image, in the training cases than 80 to 80 %",
        ),
        (
            with_spleen(brightness=(0.95,)),
            "spleen: brighter than 95 % of the image, in the training cases than 80 to 80 %",
        ),
        (replace(CASE, classes={}), "no spleen found, and every training case has it"),
        (
            replace(CASE, spacing=(0.8, 0.8, 6.0)),
            "voxels are 6 mm head-feet, in the training cases 2 to 3 mm",
        ),
        (replace(CASE, extent=(350, 300, 90)), "the image is 90 mm head-feet, in the training cases 400 to 500 mm"),
        (
            replace(CASE, intensities=((0, 1044, 1524),)),
            "0.5 % of the voxels are darker than 0 HU, in the training cases than -1000 HU",
        ),
        (
            replace(CASE, intensities=((-2000, 20, 500),)),
            "0.5 % of the voxels are darker than -2000 HU, in the training cases than -1000 HU",
        ),
        (
            replace(CASE, modality="", intensities=((0, 1044, 1524),)),
            "0.5 % of the voxels are darker than 0 HU, in the training cases than -1000 HU",
        ),
        (replace(CASE, modality="MR"), "the scan's modality is MR; this bundle was trained on CT"),
    ],
)
def test_what_is_unlike_the_training_cases_is_told_with_number_and_range(case: CaseFacts, reason: str) -> None:
    found = verdict(case)
    assert found.word == "review" and reason in found.reasons
    assert str(found).startswith("review: ")


def test_side_that_the_class_touched_in_training_is_no_reason_when_it_did_so_often() -> None:
    touching = with_spleen(sides=("superior",))
    assert verdict(touching).word == "review"  # one of twenty did, which is not more than 5 %
    often = Fingerprint.of([CASE, touching])
    assert verdict(touching, fingerprint=often).word == "accept"


def test_percentile_of_a_ct_may_lie_a_tenth_of_the_whole_range_of_hu_beyond_its_own() -> None:
    assert verdict(replace(CASE, intensities=((-1120, 20, 500),))).word == "accept"  # a tenth of 1500 HU is 150
    assert verdict(replace(CASE, intensities=((-1180, 20, 500),))).word == "review"


def test_intensities_of_other_than_ct_have_no_scale_to_be_held_to() -> None:
    other = replace(CASE, modality="MR", intensities=((0, 1e5, 1e6),))
    known = Fingerprint.of([replace(CASE, modality="MR")])
    assert judge(other, ["spleen"], fingerprint=known, confidence=None, modality="MR").word == "accept"


def test_class_that_some_training_cases_lack_may_be_missing() -> None:
    without = replace(CASE, classes={})
    assert verdict(without, fingerprint=Fingerprint.of([CASE, without])).word == "accept"


def test_class_that_no_training_case_has_is_told_where_it_is_found() -> None:
    without = Fingerprint.of([replace(CASE, classes={})])
    assert verdict(CASE, fingerprint=without).reasons == ("spleen found, and no training case has it",)
    assert verdict(replace(CASE, classes={}), fingerprint=without).word == "accept"


def test_modality_is_the_training_files_where_the_metadata_name_none() -> None:
    assert verdict(replace(CASE, modality="MR"), modality="").reasons == (
        "the scan's modality is MR; this bundle was trained on CT",
    )


def test_network_less_sure_than_on_validation_cases_is_told_with_its_confidence() -> None:
    known = replace(TRAINED, confidence=(0.9, 0.97))
    assert verdict(CASE, fingerprint=known, confidence=0.512).reasons == (
        "the network is unsure: mean confidence 0.512, on validation cases 0.900 to 0.970",
    )
    assert verdict(CASE, fingerprint=known, confidence=0.86).word == "accept"
    assert verdict(CASE, fingerprint=known, confidence=None).word == "accept"
    assert verdict(CASE, fingerprint=TRAINED, confidence=0.1).word == "accept", "nothing was validated"


def test_picture_is_no_volume() -> None:
    picture = CaseFacts(2, "", (), (512.0, 512.0), ((0, 90, 255),), {"spleen": replace(SPLEEN, size=210)})
    assert verdict(picture).reasons[0] == "this bundle was trained on volumes, not on pictures"


def test_without_a_fingerprint_only_what_needs_none_is_told() -> None:
    odd = replace(with_spleen(size=1e6, sides=("left",)), spacing=(9, 9, 9))
    assert verdict(odd, fingerprint=None).word == "accept"
    gone = replace(CASE, classes={}, modality="MR")
    assert verdict(gone, fingerprint=None).reasons == (
        "the scan's modality is MR; this bundle was trained on CT",
        "no spleen found",
    )


def test_bundle_widens_what_it_tolerates() -> None:
    assert verdict(with_spleen(size=700), tolerances=Tolerances.given({"size": 2})).word == "accept"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"volume": 2}, "there is no 'volume'; there are spacing, extent"),
        ({"size": 0.5}, "size is 0.5: a factor of at least 1"),
        ({"size": "much"}, "expected numbers"),
    ],
)
def test_tolerance_that_cannot_be_is_one_clear_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tolerances.given(given)


def test_confidence_is_the_mean_probability_of_what_was_chosen() -> None:
    probabilities = torch.tensor([[0.9, 0.1, 0.4], [0.06, 0.7, 0.35], [0.04, 0.2, 0.25]])  # (class, voxel)
    labels = torch.tensor([0, 1, 2], dtype=torch.uint8)
    assert mean_confidence(probabilities.log(), labels) == pytest.approx((0.7 + 0.25) / 2)
    assert mean_confidence(probabilities.log(), 0 * labels) is None


# On real scans, by a network that was trained on 160 others.


@pytest.fixture(scope="module")
def judged(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """The JSON record of one hippocampus scan after some change to it."""
    from medseg.images import Geometry, read_image, write_volume

    def run(change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], **given: Any) -> Any:
        folder = tmp_path_factory.mktemp("scan")
        scan = read_image(data_dir / "hippocampus" / "images" / "hippocampus_280.nii.gz")
        array, affine = change(scan.array.astype(np.float32), np.array(scan.geometry.affine))
        write_volume(folder / "scan.nii.gz", np.ascontiguousarray(array), Geometry(array.shape, affine))
        overrides = {"input": str(folder / "scan.nii.gz"), "output_dir": str(folder / "out")}
        run_bundle(find_bundle("hippocampus_mri_3d"), "inference.yaml", overrides=overrides | given)
        (record,) = json.loads((folder / "out" / "results.json").read_text())
        return record

    return run


def test_scan_as_the_training_cases_are_is_accepted(judged: Callable[..., dict[str, Any]]) -> None:
    record = judged(lambda array, affine: (array, affine))
    assert (record["verdict"], record["reasons"]) == ("accept", [])
    assert 0.8 < record["confidence"] <= 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda array, affine: (array[:, : array.shape[1] // 2], affine), "mm front-back, in the training cases"),
        (
            lambda array, affine: (array, affine @ np.diag([2, 2, 2, 1])),
            "voxels are 2 mm left-right, 2 mm front-back and 2 mm",
        ),
        (lambda array, affine: (array.max() - array, affine), "mL, the training cases had"),
    ],
    ids=["cut in half", "spacing times two", "inverted"],
)
def test_damaged_scan_is_to_be_reviewed(judged: Callable[..., dict[str, Any]], change: Any, reason: str) -> None:
    record = judged(change)
    assert record["verdict"] == "review"
    assert any(reason in each for each in record["reasons"])


def test_bundles_config_widens_the_tolerances_in_one_line(judged: Callable[..., dict[str, Any]]) -> None:
    tolerances = {"evaluator::tolerances": {"spacing": 4, "extent": 4, "size": 20, "components": 9, "border": 0}}
    record = judged(lambda array, affine: (array, affine @ np.diag([2, 2, 2, 1])), **tolerances)
    assert not any(word in each for each in record["reasons"] for word in ("voxels are", "the image is", "mL"))
