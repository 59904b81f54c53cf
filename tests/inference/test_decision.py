"""From probabilities to labels by what `decision.json` says, and of structures only the largest component."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Flipd, LoadImaged
from numpy.typing import NDArray

from medseg.errors import BundleError
from medseg.images.reader import Reader
from medseg.inference import Decision, to_source_grid
from medseg.inference.decision import decision_beside
from medseg.types import LabelClass

METADATA = {
    "classes": {"liver": {"colour": [180, 120, 60]}, "lesion": {"colour": [0, 200, 200]}},
    "regions": {"whole liver": ["liver", "lesion"]},
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "liver", "2": "lesion"}}}},
}
CLASSES = (LabelClass(1, "liver"), LabelClass(2, "lesion"))
PICTURE = Path("brain_lgg/images/TCGA_CS_4942_19970222_10.tif")


def pixels(*each: tuple[float, float, float]) -> NDArray[np.float32]:
    """Probabilities `(class, pixel)` of pixels told one by one: background, liver, lesion."""
    return np.array(each, np.float32).T


def drawn(text: str) -> NDArray[np.uint8]:
    return np.array([[".LT".index(each) for each in row] for row in text.split()], np.uint8)


def sure(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.moveaxis(np.eye(3, dtype=np.float32)[labels], -1, 0)


def labels_of(decision: Decision, *each: tuple[float, float, float]) -> list[int]:
    found: list[int] = decision.labels(pixels(*each), CLASSES).tolist()
    return found


def test_without_thresholds_the_most_probable_class_wins() -> None:
    assert labels_of(Decision(), (0.4, 0.35, 0.25), (0.3, 0.4, 0.3), (0.1, 0.2, 0.7)) == [0, 1, 2]


def test_class_is_found_where_it_reaches_its_threshold_however_likely_the_background() -> None:
    nerve = (LabelClass(1, "nerve"),)
    found = np.array([0.0, 0.24, 0.25, 0.26, 1.0], np.float32)
    for threshold, expected in ((0.25, [0, 0, 1, 1, 1]), (0.75, [0, 0, 0, 0, 1])):
        labels = Decision({"nerve": threshold}).labels(np.stack([1 - found, found]), nerve)
        assert labels.tolist() == expected and labels.dtype == np.uint8


def test_of_several_candidates_the_one_furthest_above_its_threshold_wins() -> None:
    decision = Decision({"liver": 0.5, "lesion": 0.125})
    assert labels_of(decision, (0.0, 0.75, 0.25), (0.0, 0.85, 0.15), (0.9, 0.0, 0.1), (0.45, 0.45, 0.1)) == [2, 1, 0, 0]


def test_components_of_fewer_pixels_than_the_minimum_become_background_class_by_class() -> None:
    before = drawn("""LL.T
                      ...T
                      L..T
                      .L..""")
    assert (
        Decision(minimum_size={"liver": 2}).labels(sure(before), CLASSES).tolist()
        == drawn("LL.T ...T ...T ....").tolist()
    )
    assert Decision(minimum_size={"lesion": 3}).labels(sure(before), CLASSES).tolist() == before.tolist()
    both = Decision(minimum_size={"liver": 2, "lesion": 4}).labels(sure(before), CLASSES)
    assert both.tolist() == drawn("LL.. .... .... ....").tolist()


def test_minimum_size_counts_what_the_thresholds_found() -> None:
    probabilities = pixels((0.7, 0.3, 0), (0.7, 0.3, 0), (1, 0, 0), (0.2, 0.8, 0))
    decision = Decision({"liver": 0.25, "lesion": 0.5}, {"liver": 2})
    assert decision.labels(probabilities, CLASSES).tolist() == [1, 1, 0, 0]


def test_minimum_size_is_of_voxels_that_hang_together_across_slices() -> None:
    volume = np.zeros((3, 3, 3), np.uint8)
    volume[1, 1, :] = volume[0, 0, 0] = 1
    found = Decision(minimum_size={"liver": 3}).labels(sure(volume), CLASSES)
    assert found[1, 1].tolist() == [1, 1, 1] and int(found.sum()) == 3


@pytest.fixture
def decided(data_dir: Path) -> Any:
    """The label map that `to_source_grid` makes of a drawing in the corner of a real picture, seen mirrored."""
    load = LoadImaged(keys="image", reader=Reader, ensure_channel_first=True)
    preprocessing = Compose([load, Flipd(keys="image", spatial_axis=0)])
    image = preprocessing({"image": str(data_dir / PICTURE)})["image"]

    def decide(text: str, probability: float = 0.999, **options: Any) -> list[str]:
        labels = np.zeros(image.shape[1:], np.uint8)
        corner = drawn(text)
        labels[: corner.shape[0], : corner.shape[1]] = corner
        logits = np.log(np.where(sure(labels) > 0, probability, (1 - probability) / 2))
        data = {"image": image, "pred": torch.from_numpy(logits).float().flip(1)}
        found = to_source_grid(preprocessing, metadata=METADATA, **options)(data)["pred"]
        assert found.shape == (1, *image.shape[1:]) and not found[0, corner.shape[0] :].any()
        return ["".join(".LT"[value] for value in row) for row in found[0, : len(corner), : corner.shape[1]].tolist()]

    return decide


LIVER_AND_SPOTS = """LLTL.T
                     LTLL.T
                     TLLL.T
                     ......
                     LL..T."""


def test_only_the_largest_component_of_a_class_is_kept(decided: Any) -> None:
    assert decided(LIVER_AND_SPOTS, largest=["lesion"]) == ["LL.L.T", "L.LL.T", ".LLL.T", "......", "LL...."]
    assert decided(LIVER_AND_SPOTS) == LIVER_AND_SPOTS.split()


def test_only_the_largest_component_of_a_region_is_kept_whatever_its_classes(decided: Any) -> None:
    assert decided(LIVER_AND_SPOTS, largest=["whole liver"]) == ["LLTL..", "LTLL..", "TLLL..", "......", "......"]


def test_structures_are_reduced_in_the_order_given(decided: Any) -> None:
    """The lesion that is the largest lies outside of the liver: gone before or after it has driven out the others."""
    first = decided(LIVER_AND_SPOTS, largest=["whole liver", "lesion"])
    assert sum(row.count("T") for row in first) == 1
    assert decided(LIVER_AND_SPOTS, largest=["lesion", "whole liver"]) == [
        "...L..",
        "..LL..",
        ".LLL..",
        *["......"] * 2,
    ]


def test_largest_of_what_is_not_there_leaves_nothing_and_the_rest_alone(decided: Any) -> None:
    assert decided("LL. ...", largest=["lesion", "liver"]) == ["LL.", "..."]


def test_largest_of_an_unknown_structure_is_refused(decided: Any) -> None:
    with pytest.raises(
        BundleError, match=r"^largest: 'spleen' is no class or region; .*'lesion', 'liver', 'whole liver'"
    ):
        decided("L.", largest=["spleen"])


def test_decision_beside_the_weights_is_applied(decided: Any, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    assert decided("LL. ..T", probability=0.6, checkpoint=str(model)) == ["LL.", "..T"]
    Decision({"liver": 0.7, "lesion": 0.3}).save(model)
    assert decided("LL. ..T", probability=0.6, checkpoint=str(model)) == ["...", "..T"]
    assert decided("LL. ..T", probability=0.6) == ["LL.", "..T"]


@pytest.mark.parametrize("threshold", [0.25, 1 / 3, 1e-6, 1 - 2**-20, 0.99999])
def test_decision_comes_back_from_its_file_as_it_was(tmp_path: Path, threshold: float) -> None:
    """To the last bit: networks are so sure of themselves that thresholds lie close to 0 and 1."""
    decision = Decision({"liver": threshold, "lesion": 0.5}, {"lesion": 20}, "4 cases of fold 0")
    assert decision.save(tmp_path / "model.pt") == tmp_path / "decision.json"
    assert decision_beside(tmp_path / "last.pt", CLASSES) == decision
    assert json.loads((tmp_path / "decision.json").read_text())["minimum_size"] == {"lesion": 20}


def test_no_file_and_no_weights_give_the_most_probable_class(tmp_path: Path) -> None:
    assert decision_beside(tmp_path / "model.pt", CLASSES) == decision_beside(None, CLASSES) == Decision()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe\n",
        b'{"thresholds": {}}',
        b'{"thresholds": [0.5], "minimum_size": {}}',
        b'{"thresholds": {"liver": "high", "lesion": 0.5}, "minimum_size": {}}',
        b'{"thresholds": {}, "minimum_size": {"liver": null}}',
        b'{"thresholds": {"liver": NaN, "lesion": 0.5}, "minimum_size": {}}',
        b'{"thresholds": {"liver": 50, "lesion": 0.5}, "minimum_size": {}}',
    ],
)
def test_damaged_file_is_one_line_that_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "decision.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"^[^\n]*decision\.json: no decision that can be read [^\n]*tune again$"):
        decision_beside(tmp_path / "model.pt", CLASSES)


@pytest.mark.parametrize(
    "decision",
    [
        Decision({"nerve": 0.4}),
        Decision({"liver": 0.4}),
        Decision({"liver": 0.4, "lesion": 0.4, "spleen": 0.4}),
        Decision(minimum_size={"nerve": 9}),
    ],
)
def test_file_of_other_classes_is_one_line_that_names_both(tmp_path: Path, decision: Decision) -> None:
    decision.save(tmp_path / "model.pt")
    with pytest.raises(
        BundleError, match=r"^[^\n]*is for the classes \[[^\n]*the bundle has \['lesion', 'liver'\]; tune"
    ):
        to_source_grid(Compose([]), metadata=METADATA, checkpoint=str(tmp_path / "model.pt"))
