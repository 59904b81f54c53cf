"""Areas, curves and thresholds against scikit-learn, and where they have no value."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from sklearn import metrics

from medseg.metrics import Confusion, ScoreHistogram

LABELS = npst.arrays(bool, (4, 6))
# Few values, so that many tie, each exact in its bin.
SCORES = npst.arrays(np.float32, (4, 6), elements=st.integers(0, 8).map(lambda n: n / 8))


def many(pixels: int = 40_000) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    label = rng.random(pixels) < 0.1
    logits = rng.normal(np.where(label, 1.0, -2.0), 2.0)
    return label, (1 / (1 + np.exp(-logits))).astype(np.float32)


@given(label=LABELS, scores=SCORES)
def test_areas_equal_scikit_learns_with_ties(label: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
    assume(label.any() and not label.all())
    histogram = ScoreHistogram.of(label, scores)
    assert histogram.roc_auc() == pytest.approx(metrics.roc_auc_score(label.ravel(), scores.ravel()))
    precision = metrics.average_precision_score(label.ravel(), scores.ravel())
    assert histogram.average_precision() == pytest.approx(precision)


def test_areas_and_threshold_of_many_pixels_equal_scikit_learns() -> None:
    label, scores = many()
    histogram = ScoreHistogram.of(label, scores)
    assert histogram.roc_auc() == pytest.approx(metrics.roc_auc_score(label, scores), abs=1e-4)
    assert histogram.average_precision() == pytest.approx(metrics.average_precision_score(label, scores), abs=1e-4)
    precision, recall, _ = metrics.precision_recall_curve(label, scores)
    f_scores = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    threshold, f_score = histogram.best_threshold()
    assert f_score == pytest.approx(f_scores.max(), abs=1e-4)
    assert f_score == pytest.approx(metrics.f1_score(label, scores >= threshold))


@pytest.mark.parametrize(
    ("spread", "kind"), [(1, np.float32), (5, np.float32), (10, np.float32), (1, np.float64), (5, np.float64)]
)
def test_scores_that_crowd_at_0_and_1_are_told_apart(spread: int, kind: type[np.floating]) -> None:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    label = rng.random(40_000) < 0.1
    scores = (1 / (1 + np.exp(-spread * rng.normal(np.where(label, 1, -1), 1)))).astype(kind)
    histogram = ScoreHistogram.of(label, scores)
    assert histogram.roc_auc() == pytest.approx(metrics.roc_auc_score(label, scores), abs=1e-4)
    assert histogram.average_precision() == pytest.approx(metrics.average_precision_score(label, scores), abs=1e-4)


@given(
    scores=st.lists(
        st.floats(0, 1) | st.floats(0, 1e-9) | st.floats(0, 1e-9).map(lambda gap: 1 - gap), min_size=2, max_size=2
    ).map(sorted)
)
def test_bins_are_in_order_and_begin_at_their_threshold(scores: list[float]) -> None:
    low, high = (ScoreHistogram.of(np.array([True]), np.array([score])) for score in scores)
    assert low.positives.size == 2**17
    assert low.positives.argmax() <= high.positives.argmax()
    threshold, _ = high.best_threshold()
    assert threshold <= scores[1]
    again = ScoreHistogram.of(np.array([True]), np.array([threshold]))
    assert again.positives.argmax() == high.positives.argmax()
    if low.positives.argmax() < high.positives.argmax():
        assert scores[0] < threshold


@given(label=LABELS, scores=SCORES)
def test_no_threshold_beats_the_best(label: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
    assume(label.any())
    threshold, f_score = ScoreHistogram.of(label, scores).best_threshold()
    assert Confusion.of(label, scores >= threshold).f_score == pytest.approx(f_score)
    assert all(Confusion.of(label, scores >= other).f_score <= f_score + 1e-12 for other in np.unique(scores))


def test_areas_by_hand() -> None:
    """Hand-computed: of 2 x 2 pairs three are in order; precisions 1 and 2/3 at recalls 1/2 and 1."""
    histogram = ScoreHistogram.of(np.array([0, 0, 1, 1], bool), np.array([0.1, 0.4, 0.35, 0.8]))
    assert histogram.roc_auc() == pytest.approx(0.75)
    assert histogram.average_precision() == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert histogram.best_threshold() == pytest.approx((0.35, 0.8), abs=3e-4)


@given(
    labels=npst.arrays(bool, (2, 4, 6)),
    scores=npst.arrays(np.float32, (2, 4, 6), elements=st.floats(0, 1, width=32)),
)
def test_sum_of_cases_is_their_pool(labels: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
    pool = ScoreHistogram.of(labels, scores)
    total = ScoreHistogram.of(labels[0], scores[0]) + ScoreHistogram.of(labels[1], scores[1])
    np.testing.assert_array_equal(total.positives, pool.positives)
    np.testing.assert_array_equal(total.negatives, pool.negatives)


def test_only_masked_pixels_count() -> None:
    label, scores = many(400)
    mask = np.arange(400) < 200
    scores[200:] = np.nan
    masked = ScoreHistogram.of(label, scores, mask)
    np.testing.assert_array_equal(masked.positives, ScoreHistogram.of(label[:200], scores[:200]).positives)


def test_half_precision_overflows_no_bin() -> None:
    histogram = ScoreHistogram.of(np.array([True, False]), np.array([1, 0], dtype=np.float16))
    assert (histogram.positives[-1], histogram.negatives[0]) == (1, 1)


@pytest.mark.parametrize("label", [True, False])
def test_one_class_alone_has_no_ranking(label: bool) -> None:
    histogram = ScoreHistogram.of(np.full(5, label), np.linspace(0, 1, 5))
    assert isnan(histogram.roc_auc()) and isnan(histogram.average_precision())
    assert histogram.roc_curve()[0].size == histogram.pr_curve()[0].size == 0
    assert histogram.best_threshold() == ((0.0, 1.0) if label else pytest.approx((np.nan, np.nan), nan_ok=True))


def test_curves_are_few_points_with_the_same_area() -> None:
    label, scores = many()
    histogram = ScoreHistogram.of(label, scores)
    fpr, tpr = histogram.roc_curve()
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert 100 < len(fpr) <= 512
    assert (np.diff(fpr) >= 0).all() and (np.diff(tpr) >= 0).all()
    assert float((np.diff(fpr) * (tpr[1:] + tpr[:-1])).sum() / 2) == pytest.approx(histogram.roc_auc(), abs=1e-4)
    recall, precision = histogram.pr_curve()
    assert len(recall) <= 512 and (np.diff(recall) >= 0).all()
    assert (recall[-1], precision[-1]) == (1, pytest.approx(label.mean()))
    assert float((np.diff(recall) * precision[1:]).sum()) == pytest.approx(histogram.average_precision(), abs=5e-3)


def test_few_points_of_a_curve_are_scikit_learns() -> None:
    label, scores = np.array([0, 1, 1, 0, 1], bool), np.array([0, 0.25, 0.5, 0.5, 1])
    theirs = metrics.roc_curve(label, scores, drop_intermediate=False)
    for mine, their in zip(ScoreHistogram.of(label, scores).roc_curve(), theirs, strict=False):
        np.testing.assert_allclose(mine, their)


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        ScoreHistogram.of(np.array([True]), np.array([wrong]))


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        ScoreHistogram.of(np.ones(3, bool), np.ones(4))
