"""From probabilities to labels by what `decision.json` says, and by the steps that a bundle declares."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, LoadImaged
from numpy.typing import NDArray

from medseg.errors import BundleError, MedsegError
from medseg.images.reader import Reader
from medseg.inference import Decision, to_source_grid
from medseg.inference.restoring.decision import decision_beside
from medseg.inference.restoring.label_map import Drawing
from medseg.inference.restoring.source_grid import SourceGrid
from medseg.inference.windows.pieces import Piece
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


def test_of_equal_logits_the_first_class_wins() -> None:
    logits = torch.tensor([[1.0, 0.0, 3.0], [1.0, 2.0, 3.0], [0.0, 2.0, 3.0]])[:, None]  # (class, 1, pixel)
    assert Decision().winners(logits, CLASSES).tolist() == [[0, 1, 0]]


def test_class_is_found_where_it_reaches_its_threshold_however_likely_the_background() -> None:
    nerve = (LabelClass(1, "nerve"),)
    found = np.array([0.0, 0.24, 0.25, 0.26, 1.0], np.float32)
    for threshold, expected in ((0.25, [0, 0, 1, 1, 1]), (0.75, [0, 0, 0, 0, 1])):
        labels = Decision({"nerve": threshold}).labels(np.stack([1 - found, found]), nerve)
        assert labels.tolist() == expected and labels.dtype == np.uint8


def test_of_several_candidates_the_one_furthest_above_its_threshold_wins() -> None:
    decision = Decision({"liver": 0.5, "lesion": 0.125})
    assert labels_of(decision, (0.0, 0.75, 0.25), (0.0, 0.85, 0.15), (0.9, 0.0, 0.1), (0.45, 0.45, 0.1)) == [2, 1, 0, 0]


def test_class_with_priority_wins_wherever_it_reaches_its_probability() -> None:
    seen = (0.1, 0.6, 0.3), (0.6, 0.1, 0.3), (0.1, 0.7, 0.2), (0.5, 0.3, 0.2)
    assert labels_of(Decision(priority={"lesion": 0.3}), *seen) == [2, 2, 1, 0]
    assert labels_of(Decision(priority={"lesion": 0.3, "liver": 0.3}), *seen) == [2, 2, 1, 1]
    assert labels_of(Decision(priority={"liver": 0.3, "lesion": 0.3}), *seen) == [1, 2, 1, 1]
    assert labels_of(Decision({"liver": 0.05, "lesion": 0.9}, priority={"lesion": 0.3}), *seen) == [2, 2, 1, 1]


@given(st.integers(0, 2**16))
def test_part_by_part_priorities_count_as_on_the_whole(seed: int) -> None:
    logits = torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(seed))
    decision = Decision(priority={"lesion": 0.2, "liver": 0.4})
    drawing = Drawing(SourceGrid.itself((6, 5, 4)), decision, CLASSES)
    drawing.add(Piece.whole(logits))
    assert np.array_equal(drawing.labels, decision.labels(logits.softmax(dim=0).numpy(), CLASSES))


def test_confidence_counts_every_voxel_alike_though_each_piece_gives_a_sample() -> None:
    shape = (10, 100, 100)
    logits = torch.zeros(2, *shape)
    logits[1, 0, 0, :5], logits[1, 1:] = 4, 1
    drawing = Drawing(SourceGrid.itself(shape), Decision(), CLASSES[:1])
    for part in (slice(0, 1), slice(1, 10)):
        drawing.add(Piece(logits[:, part], (part.start, 0, 0), (part, slice(0, 100), slice(0, 100))))
    very, less = torch.tensor([4.0, 1.0]).sigmoid().tolist()
    assert drawing.confidence == pytest.approx((5 * very + 90_000 * less) / 90_005, rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_network_that_gives_no_numbers_is_told(value: float) -> None:
    logits = torch.zeros(3, 6, 5, 4)
    logits[1, 2, 3, 0] = value
    with pytest.raises(MedsegError, match="the network gives NaN or infinity; use --precision fp32"):
        Drawing(SourceGrid.itself((6, 5, 4)), Decision(), CLASSES).add(Piece.whole(logits))


def test_any_part_of_an_image_is_decided_as_within_the_whole() -> None:
    probabilities = np.random.default_rng(0).dirichlet((1, 1, 1), (6, 7, 8)).transpose(3, 0, 1, 2).astype(np.float32)
    for decision in (Decision(), Decision({"liver": 0.4, "lesion": 0.3}, {"liver": 9})):
        whole = decision.labels(probabilities, CLASSES)
        slabs = [decision.labels(probabilities[..., part], CLASSES) for part in (slice(0, 3), slice(3, 8))]
        np.testing.assert_array_equal(np.concatenate(slabs, axis=-1), whole)


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


def test_steps_are_taken_in_the_order_given(decided: Any) -> None:
    """The lesion that is the largest lies outside of the liver: gone before or after it has driven out the others."""
    liver, lesion = {"largest": ["whole liver"]}, {"largest": ["lesion"]}
    first = decided(LIVER_AND_SPOTS, steps=[liver, lesion])
    assert sum(row.count("T") for row in first) == 1
    assert decided(LIVER_AND_SPOTS, steps=[lesion, liver]) == ["...L..", "..LL..", ".LLL..", *["......"] * 2]
    assert decided(LIVER_AND_SPOTS) == LIVER_AND_SPOTS.split()


def test_priority_comes_before_the_other_steps() -> None:
    likelier_liver = torch.tensor([0.1, 0.5, 0.4]).log().reshape(3, 1, 1).expand(3, 2, 2)
    priority = {"priority": {"lesion": 0.39}}
    for steps, expected in (([], 1), ([priority], 2), ([priority, {"minimum_voxels": {"lesion": 5}}], 0)):
        back = to_source_grid(Compose([]), metadata=METADATA, steps=steps)
        drawing = back.draw(MetaTensor(torch.zeros(1, 2, 2)), [Piece.whole(likelier_liver)])
        assert (back.finished(drawing.labels, np.eye(3)) == expected).all()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"priority": {"spleen": 0.4}}], r"'spleen' is no class; there are \['lesion', 'liver'\]"),
        ([{"priority": {"whole liver": 0.4}}], "'whole liver' is no class"),
        ([{"priority": ["lesion"]}], "expected a class and the probability"),
        ({"largest": ["liver"]}, "expected a list of steps"),
        ([{"priority": {"lesion": 0}}], "expected a probability above 0 and up to 1, found 0"),
        ([{"largest": ["liver"]}, {"priority": {"lesion": 0.4}}], "a step of their own, the first"),
        ([{"priority": {"lesion": 0.4}, "largest": ["liver"]}], "a step of their own, the first"),
    ],
)
def test_priority_that_is_none_is_one_line_that_says_why(steps: list[Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        to_source_grid(Compose([]), metadata=METADATA, steps=steps)


def test_smallest_sizes_beside_the_weights_come_before_the_steps_of_the_bundle(decided: Any, tmp_path: Path) -> None:
    """Three pixels of lesion go, and with them what ties the liver's halves together."""
    Decision(minimum_size={"lesion": 4}).save(tmp_path / "model.pt")
    steps, checkpoint = [{"largest": ["whole liver"]}], str(tmp_path / "model.pt")
    assert decided("LLTTTL", steps=steps) == ["LLTTTL"]
    assert decided("LLTTTL", steps=steps, checkpoint=checkpoint) == ["LL...."]


def test_smallest_sizes_count_what_the_thresholds_found(decided: Any, tmp_path: Path) -> None:
    Decision({"liver": 0.7, "lesion": 0.3}, {"lesion": 2}).save(tmp_path / "model.pt")
    assert decided("LL. .TT T..", probability=0.6, checkpoint=str(tmp_path / "model.pt")) == ["...", ".TT", "..."]


def test_step_that_fits_no_bundle_is_refused_before_any_image(data_dir: Path) -> None:
    with pytest.raises(BundleError, match=r"'spleen' is no class or region; .*'lesion', 'liver', 'whole liver'"):
        to_source_grid(Compose([]), metadata=METADATA, steps=[{"largest": ["spleen"]}])


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


def test_decision_for_one_of_several_weights_is_left_out_which_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Decision({"liver": 0.3, "lesion": 0.5}, {}, "4 cases of fold 0").save(tmp_path / "model.pt")
    weights = [str(tmp_path / "model.pt"), str(tmp_path / "last.pt")]
    with caplog.at_level(logging.WARNING):
        assert decision_beside(weights, CLASSES) == Decision()
    assert "decision.json: is for these weights alone" in caplog.text


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
