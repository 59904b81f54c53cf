"""What is measured over all cases: against scikit-learn on the pooled pixels, and by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from medseg.errors import ConfigError, DatasetError
from medseg.evaluation import ImageDice, Measure, MembraneMeasures, PatientDice, PixelMeasures
from medseg.evaluation.measures import Compared

CELLS = {"cytoplasm": (1,), "nucleus": (2,), "cell": (1, 2)}  # the last a region
NERVE = {"nerve": (1,)}


def measured(measure: Measure, *cases: Compared) -> dict[str, Any]:
    measure.reset()
    for case in cases:
        measure.update(case)
    found: dict[str, Any] = measure.compute()
    json.dumps(found, allow_nan=False)  # summary.json is to be read by any program
    return found


def case_of(
    label: Any, found: Any, *, name: str = "one", structures: dict[str, tuple[int, ...]] = NERVE, **others: Any
) -> Compared:
    """A case of rows of class values, whose probabilities are sure of what was found."""
    label, found = (np.asarray(each, np.int64)[:, :, None] for each in (label, found))
    sure = np.eye(1 + max(max(each) for each in structures.values()), dtype=np.float32)[found]
    return Compared(name, structures, label, found, **({"probabilities": sure} | others))


@pytest.fixture(scope="module")
def cells() -> list[Compared]:
    """Three noisy cases of different sizes, the second counted everywhere, the others inside a mask."""
    rng = np.random.default_rng(0)
    cases = []
    for index, size in enumerate((20, 25, 30)):
        label = rng.integers(0, 3, (size, 18, 1))
        logits = rng.normal(size=(size, 18, 1, 3)) + 1.2 * np.eye(3)[label]
        probabilities = (np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)).astype(np.float32)
        observer = np.where(rng.random(label.shape) < 0.2, rng.integers(0, 3, label.shape), label)
        mask = None if index == 1 else rng.random(label.shape) < 0.7
        segmentation = probabilities.argmax(axis=-1)
        cases.append(Compared(str(index), CELLS, label, segmentation, probabilities, mask, observer))
    return cases


def pooled(cases: list[Compared], what: str) -> NDArray[Any]:
    return np.concatenate(
        [
            getattr(c, what)[slice(None) if c.mask is None else c.mask].reshape(-1, *getattr(c, what).shape[3:])
            for c in cases
        ]
    )


def test_all_classes_together_are_scikit_learns_on_the_pixels_inside_the_masks(cells: list[Compared]) -> None:
    found = measured(PixelMeasures(), *cells)
    true, mine, probabilities = (pooled(cells, what) for what in ("label", "segmentation", "probabilities"))
    assert 500 < len(true) < 1350
    assert found["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(true, mine))
    assert found["mean_iou"]["value"] == pytest.approx(metrics.jaccard_score(true, mine, average="macro"))
    shares = probabilities.astype(np.float64) / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    assert found["loss"]["value"] == pytest.approx(metrics.log_loss(true, shares), rel=1e-5)


@pytest.mark.parametrize("structure", CELLS)
def test_every_structure_is_scikit_learns_on_the_pixels_inside_the_masks(cells: list[Compared], structure: str) -> None:
    """A cell is cytoplasm or nucleus, and its probability the sum of theirs."""
    found = measured(PixelMeasures(), *cells)["structures"][structure]
    true, mine = (np.isin(pooled(cells, what), CELLS[structure]) for what in ("label", "segmentation"))
    score = pooled(cells, "probabilities")[:, list(CELLS[structure])].sum(axis=1)
    expected = {
        "f_score": metrics.f1_score(true, mine),
        "sensitivity": metrics.recall_score(true, mine),
        "specificity": metrics.recall_score(~true, ~mine),
        "precision": metrics.precision_score(true, mine),
        "iou": metrics.jaccard_score(true, mine),
        "accuracy": metrics.accuracy_score(true, mine),
        "roc_auc": metrics.roc_auc_score(true, score),
        "average_precision": metrics.average_precision_score(true, score),
    }
    assert {name: each["value"] for name, each in found.items()} == pytest.approx(expected, abs=1e-4)
    for each in found.values():
        low, high = each["interval"]
        assert low <= each["value"] <= high and low < high


def test_second_observer_is_measured_against_the_first(cells: list[Compared]) -> None:
    found = measured(PixelMeasures(), *cells)["second_observer"]
    for name, values in CELLS.items():
        true, second = (np.isin(pooled(cells, what), values) for what in ("label", "observer"))
        assert found[name]["f_score"]["value"] == pytest.approx(metrics.f1_score(true, second))
    assert "second_observer" not in measured(PixelMeasures(), case_of([[1]], [[1]]))


def test_pixels_outside_of_the_mask_change_nothing() -> None:
    mask = np.array([[True, True, False]])[:, :, None]
    right, wrong = (case_of([[1, 0, 0]], [[1, 0, outside]], mask=mask) for outside in (0, 1))
    found = measured(PixelMeasures(), wrong)
    assert found == measured(PixelMeasures(), right)
    assert found["structures"]["nerve"]["f_score"]["value"] == found["accuracy"]["value"] == 1


def test_pixels_of_large_images_outweigh_those_of_small_ones() -> None:
    large, small = case_of(np.ones((9, 10)), np.ones((9, 10))), case_of(np.ones((1, 10)), np.zeros((1, 10)))
    found = measured(PixelMeasures(), large, small)
    assert found["accuracy"]["value"] == pytest.approx(0.9)
    assert found["accuracy"]["interval"] == [0, 1], "over cases: either may be drawn twice"


def test_what_has_no_value_is_none_and_a_class_that_never_occurs_is_in_no_mean() -> None:
    found = measured(PixelMeasures(), case_of([[0, 1]], [[0, 1]], structures=CELLS))
    nothing = {"value": None, "interval": None}
    nucleus = found["structures"]["nucleus"]
    assert nucleus["f_score"] == nucleus["roc_auc"] == nucleus["average_precision"] == nothing
    assert nucleus["specificity"]["value"] == found["mean_iou"]["value"] == 1


def test_impossible_truth_costs_much_but_not_everything() -> None:
    loss = measured(PixelMeasures(), case_of([[1, 0]], [[0, 0]]))["loss"]["value"]
    assert loss == pytest.approx(-np.log(1e-12) / 2)


def test_reset_forgets() -> None:
    for measure in (PixelMeasures(), ImageDice(), PatientDice("(one)"), MembraneMeasures("nerve")):
        once = measured(measure, case_of([[1, 0]], [[1, 0]]))
        measured(measure, case_of([[1, 0]], [[0, 1]]))
        assert measured(measure, case_of([[1, 0]], [[1, 0]])) == once


def test_curves_are_drawn_where_there_are_cases(cells: list[Compared]) -> None:
    measure = PixelMeasures()
    assert measure.figures() == {}
    measured(measure, *cells)
    assert set(measure.figures()) == {"roc_pr"}


HELD, EMPTY = [[1, 1, 0, 0]], [[0, 0, 0, 0]]


def test_image_rightly_found_empty_counts_one_and_a_false_alarm_nothing() -> None:
    cases = [(HELD, [[0, 1, 1, 0]]), (HELD, EMPTY), (EMPTY, EMPTY), (EMPTY, HELD), (EMPTY, EMPTY)]
    found = measured(ImageDice(), *(case_of(label, mine) for label, mine in cases))["nerve"]
    assert found["dice"]["value"] == pytest.approx((0.5 + 0 + 1 + 0 + 1) / 5)
    assert found["dice_non_empty"]["value"] == pytest.approx((0.5 + 0) / 2)
    assert found["predicting_nothing"] == pytest.approx(3 / 5)
    assert (found["images"], found["empty_images"]) == (5, 3)


def test_predicting_nothing_earns_what_stands_beside_it() -> None:
    found = measured(ImageDice(), *(case_of(label, EMPTY) for label in (HELD, EMPTY, EMPTY)))["nerve"]
    assert found["dice"]["value"] == found["predicting_nothing"] == pytest.approx(2 / 3)


def test_images_that_are_all_empty_have_no_dice_of_those_that_hold_something() -> None:
    found = measured(ImageDice(), case_of(EMPTY, EMPTY))["nerve"]
    assert found["dice"]["value"] == 1 and found["dice_non_empty"] == {"value": None, "interval": None}


def test_image_without_a_class_is_not_one_without_the_region() -> None:
    found = measured(ImageDice(), case_of(HELD, HELD, structures=CELLS))
    assert {name: found[name]["empty_images"] for name in CELLS} == {"cytoplasm": 0, "nucleus": 1, "cell": 0}


def slices(names: list[str], labels: list[Any], found: list[Any]) -> list[Compared]:
    return [case_of(label, mine, name=name) for name, label, mine in zip(names, labels, found, strict=True)]


PATIENT = r"^(TCGA_\w+?_\w+?)_"


def test_patient_is_scored_as_one_volume_and_not_by_the_mean_of_slices() -> None:
    names = ["TCGA_CS_4942_19970222_08", "TCGA_CS_4942_19970222_09", "TCGA_DU_5855_19951217_01"]
    cases = slices(names, [[[1, 1, 1, 1]], EMPTY, HELD], [[[1, 1, 1, 0]], [[1, 0, 0, 0]], HELD])
    found = measured(PatientDice(PATIENT), *cases)["nerve"]
    assert found["patients"] == pytest.approx([2 * 3 / (4 + 4), 1])
    assert found["dice"]["value"] == pytest.approx((0.75 + 1) / 2)


def test_case_whose_name_shows_no_patient_is_one_of_its_own() -> None:
    found = measured(PatientDice(PATIENT), *slices(["a_1", "a_2"], [HELD, HELD], [HELD, EMPTY]))["nerve"]
    assert found["patients"] == [1, 0]


def test_patient_without_the_structure_has_no_score_and_is_in_no_mean() -> None:
    found = measured(PatientDice("^(.)"), *slices(["a", "b"], [EMPTY, HELD], [EMPTY, HELD]))["nerve"]
    assert found["patients"] == [None, 1] and found["dice"]["value"] == 1


def test_largest_component_hangs_together_across_slices_in_the_order_of_their_numbers() -> None:
    """Slice 9 stands before 10: two small spots, corner to corner, make a component larger than the spot in 11."""
    names = [f"p_{number}" for number in (10, 11, 9)]
    small, beside, other = [[1, 1, 0, 0, 0, 0, 0, 0]], [[0, 0, 1, 1, 0, 0, 0, 0]], [[0] * 8]
    lone = [[0, 0, 0, 0, 0, 1, 1, 1]]
    rows = {10: [*beside, *other], 11: [*other, *lone], 9: [*other, *small]}
    found = list(rows.values())
    labels = [rows[10], [*other, *other], rows[9]]
    assert measured(PatientDice("^(p)"), *slices(names, labels, found))["nerve"]["patients"] == [pytest.approx(8 / 11)]
    largest = PatientDice("^(p)", largest_component=True)
    assert measured(largest, *slices(names, labels, found))["nerve"]["patients"] == [1]


def test_largest_component_of_one_patient_does_not_remove_anothers() -> None:
    cases = slices(["a_1", "b_1"], [HELD, [[1, 0, 0, 0]]], [HELD, [[1, 0, 0, 0]]])
    found = measured(PatientDice("^(.)_", largest_component=True), *cases)["nerve"]
    assert found["patients"] == [1, 1]


def test_patient_whose_slices_differ_in_shape_is_named_and_the_others_are_scored() -> None:
    names = ["a_1", "a_2", "a_10", "b_1"]
    labels = [HELD, [*HELD, *HELD], HELD, HELD]
    for measure in (PatientDice("^(.)_"), PatientDice("^(.)_", largest_component=True)):
        found = measured(measure, *slices(names, labels, labels))["nerve"]
        assert found["patients"] == [1] and found["dice"]["value"] == 1
        assert measure.failures() == {
            "a": "patient a: slices of several shapes make no volume (1 x 4: a_1 and 1 more; 2 x 4: a_2); "
            "bring them to one shape, leave the odd ones out, or tell series apart by PatientDice's `group`"
        }


def test_where_no_patient_could_be_scored_there_is_no_dice() -> None:
    found = measured(PatientDice("^(.)_"), *slices(["a_1", "a_2"], [HELD, [*HELD, *HELD]], [HELD, [*HELD, *HELD]]))
    assert found["nerve"] == {"dice": {"value": None, "interval": None}, "patients": []}


@pytest.mark.parametrize("measure", [PatientDice("(one)"), MembraneMeasures("nerve")])
def test_volume_is_refused_where_slices_are_scored(measure: Measure) -> None:
    volume = np.ones((2, 3, 4), np.int64)
    with pytest.raises(DatasetError, match=r"^one: a volume of \(2, 3, 4\) voxels; this measure takes single slices$"):
        measure.update(Compared("one", NERVE, volume, volume, np.eye(2, dtype=np.float32)[volume]))


@pytest.mark.parametrize("value", [7, -1, 4])
def test_label_value_without_a_probability_is_named_with_its_case(value: int) -> None:
    """4 would be taken for another pair of classes: 0 * 3 + 4."""
    measure = PixelMeasures()
    case = case_of([[0, value, 1]], [[0, 0, 1]], structures=CELLS)
    with pytest.raises(DatasetError, match=rf"^one: the label holds the values \[{value}\]; classes are 0 to 2$"):
        measure.update(case)
    measure.update(case_of([[0, 1, 1]], [[0, 1, 1]], structures=CELLS))
    assert measure.compute()["accuracy"]["value"] == 1, "what was refused left nothing behind"


@pytest.mark.parametrize("measure", [PixelMeasures(), ImageDice(), PatientDice("(.)"), MembraneMeasures()])
def test_measure_of_no_case_has_no_value(measure: Measure) -> None:
    """As where none could be segmented."""
    found = measured(measure)
    assert set(found) <= {"accuracy", "mean_iou", "loss", "structures", "slices", *SCORES, "settings"}
    assert all(each in ({}, 0, {"value": None, "interval": None}) for each in found.values())
    assert measure.figures() == {}


def test_mask_in_which_nothing_counts_gives_no_value() -> None:
    nowhere = case_of([[1, 0]], [[1, 0]], mask=np.zeros((1, 2, 1), bool))
    found = measured(PixelMeasures(), nowhere)
    assert {found[name]["value"] for name in ("accuracy", "mean_iou", "loss")} == {None}
    somewhere = case_of([[1, 0]], [[1, 0]])
    assert measured(PixelMeasures(), nowhere, somewhere)["accuracy"] == {"value": 1, "interval": [1, 1]}


@pytest.mark.parametrize("pattern", ["TCGA_", "(TCGA"])
def test_pattern_that_finds_no_patient_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"^PatientDice: '\(?TCGA_?' "):
        PatientDice(pattern)


MEMBRANE = {"membrane": (1,)}


def four_cells(gap: bool = False) -> NDArray[np.int64]:
    """Cells of 11 x 11 pixels parted by membranes of two; with a gap, two of them are one."""
    membrane = np.zeros((24, 24), np.int64)
    membrane[11:13] = membrane[:, 11:13] = 1
    if gap:
        membrane[4:7, 11:13] = 0
    return membrane


def membranes(label: NDArray[Any], found: NDArray[Any], interior: float = 0.95) -> Compared:
    """A slice, the cell's interior of what was found having this probability and the membrane a tenth of it."""
    cell = np.where(found == 0, interior, interior / 10).astype(np.float32)[:, :, None]
    return case_of(label, found, structures=MEMBRANE, probabilities=np.stack([cell, 1 - cell], axis=-1))


SCORES = ("v_rand", "v_info", "warping_error", "pixel_error")


def values(found: Any) -> list[float | None]:
    return [found[name]["value"] for name in SCORES]


def test_membranes_all_found_score_one_and_err_nowhere() -> None:
    found = measured(MembraneMeasures(), membranes(four_cells(), four_cells()))
    assert values(found) == pytest.approx([1, 1, 0, 0])
    assert found["slices"] == 1


def test_gap_that_merges_two_cells_is_worse_in_every_score_though_few_pixels() -> None:
    found = measured(MembraneMeasures(), membranes(four_cells(), four_cells(gap=True)))
    rand, information, warping, pixels = values(found)
    assert rand < 0.85 and information < 0.95
    assert pixels == pytest.approx(6 / 24**2)
    assert 0 < warping <= pixels


def test_scores_are_means_over_slices() -> None:
    good, bad = membranes(four_cells(), four_cells()), membranes(four_cells(), four_cells(gap=True))
    alone, both = measured(MembraneMeasures(), bad), measured(MembraneMeasures(), good, bad)
    assert values(both) == pytest.approx([np.mean(each) for each in zip(values(alone), (1, 1, 0, 0), strict=True)])
    for name, perfect in zip(SCORES, (1, 1, 0, 0), strict=True):  # draws of the one slice or the other twice
        assert both[name]["interval"] == pytest.approx(sorted([alone[name]["value"], perfect]))


def test_thresholds_are_those_that_are_best_and_are_told() -> None:
    """A network that gives cells no more than 0.35 finds none at 0.5, and all of them at 0.1 to 0.3."""
    found = measured(MembraneMeasures(), membranes(four_cells(), four_cells(), interior=0.35))
    assert values(found) == pytest.approx([1, 1, 0, 0])
    assert all(found["settings"][name].startswith("probability of cell interior >= 0.1") for name in SCORES)


def test_slice_that_is_all_membrane_has_no_score() -> None:
    everywhere = np.ones((6, 6), np.int64)
    found = measured(MembraneMeasures(), membranes(everywhere, everywhere))
    assert values(found) == [None, None, 0, 0]
    assert set(found["settings"]) == {"warping_error", "pixel_error"}


def test_bundle_without_that_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^MembraneMeasures: no class 'membrane'; there are \['nerve'\]$"):
        measured(MembraneMeasures(), case_of(HELD, HELD))


def test_patient_may_stand_anywhere_in_a_name() -> None:
    found = measured(PatientDice(r"_(p\d)_"), *slices(["1_p2_x", "2_p2_x"], [HELD, HELD], [HELD, EMPTY]))["nerve"]
    assert found["patients"] == pytest.approx([2 / 3])
