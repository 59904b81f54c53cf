"""Counts and their shares against scikit-learn, by hand, and where they have no value."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from sklearn import metrics

from medseg.metrics import Confusion, dice, iou

SHARES = ("accuracy", "sensitivity", "specificity", "precision", "f_score", "iou")
MASKS = npst.arrays(bool, (3, 4, 5))


def test_shares_by_hand() -> None:
    counts = Confusion(tp=6, fp=2, fn=4, tn=8)
    assert [getattr(counts, share) for share in SHARES] == pytest.approx([14 / 20, 0.6, 0.8, 0.75, 12 / 18, 0.5])


@given(masks=MASKS)
def test_shares_equal_scikit_learns(masks: NDArray[np.bool_]) -> None:
    label, segmentation, counted = masks
    counts = Confusion.of(label, segmentation, counted)
    true, mine = label[counted], segmentation[counted]
    theirs = metrics.confusion_matrix(true, mine, labels=[False, True]) if counted.any() else np.zeros((2, 2))
    assert (counts.tn, counts.fp, counts.fn, counts.tp) == tuple(theirs.ravel())
    if not counted.any():
        return
    nan = float("nan")
    named = {
        "accuracy": metrics.accuracy_score(true, mine),
        "sensitivity": metrics.recall_score(true, mine, zero_division=nan),
        "specificity": metrics.recall_score(~true, ~mine, zero_division=nan),
        "precision": metrics.precision_score(true, mine, zero_division=nan),
        "f_score": metrics.f1_score(true, mine, zero_division=nan),
        "iou": counts.iou if not (true | mine).any() else metrics.jaccard_score(true, mine),
    }
    for share, value in named.items():
        assert getattr(counts, share) == pytest.approx(value, nan_ok=True), share


@given(masks=npst.arrays(bool, (2, 4, 5)))
def test_f_score_and_iou_are_those_of_overlap(masks: NDArray[np.bool_]) -> None:
    counts = Confusion.of(*masks)
    assert counts.f_score == pytest.approx(dice(*masks), nan_ok=True)
    assert counts.iou == pytest.approx(iou(*masks), nan_ok=True)


@given(masks=MASKS, cut=st.integers(0, 4))
def test_sum_of_parts_is_the_whole(masks: NDArray[np.bool_], cut: int) -> None:
    assert Confusion.of(*masks[:, :cut]) + Confusion.of(*masks[:, cut:]) == Confusion.of(*masks)


def test_nothing_has_no_share() -> None:
    assert all(isnan(getattr(Confusion(0, 0, 0, 0), share)) for share in SHARES)


def test_only_what_is_undefined_is_nan() -> None:
    empty = Confusion.of(np.zeros((4, 4), bool), np.zeros((4, 4), bool))
    assert (empty.accuracy, empty.specificity) == (1, 1)
    assert all(isnan(getattr(empty, share)) for share in ("sensitivity", "precision", "f_score", "iou"))
    missed = Confusion.of(np.ones((4, 4), bool), np.zeros((4, 4), bool))
    assert (missed.sensitivity, missed.f_score, missed.iou) == (0, 0, 0)
    assert isnan(missed.precision) and isnan(missed.specificity)


def test_shapes_that_do_not_fit_are_named() -> None:
    whole = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="do not fit"):
        Confusion.of(whole, whole[:2])
    with pytest.raises(ValueError, match="do not fit"):
        Confusion.of(whole, whole, whole[0])
