"""Intervals of pooled numbers: against theory and scipy, repeatable, and NaN only where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import pytest
from scipy import stats

from medseg.metrics import ClassScore, Confusion, ScoreHistogram, bootstrap, interval, resampled_sums, summarise

SIDES = ("positives", "negatives")


def pooled_f_score(cases: Sequence[Confusion]) -> float:
    return reduce(add, cases).f_score


def mean(cases: Sequence[float]) -> float:
    return float(np.mean(cases))


def test_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5, 2, size=400).tolist()
    low, high = bootstrap(values, mean)
    error = float(np.std(values)) / 20
    assert (low, high) == pytest.approx((mean(values) - 1.96 * error, mean(values) + 1.96 * error), abs=0.15 * error)


def test_interval_of_a_ratio_is_scipys() -> None:
    """Of pooled counts, which no mean over cases gives."""
    rng = np.random.default_rng(0)
    part, rest = rng.integers(1, 50, (2, 40))
    cases = [Confusion(int(tp), int(fp), 0, 0) for tp, fp in zip(part, rest, strict=True)]
    theirs = stats.bootstrap(
        (part, rest),
        lambda p, r, axis=-1: p.sum(axis) / (p + r).sum(axis),
        paired=True,
        method="percentile",
        n_resamples=5000,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    mine = bootstrap(cases, lambda drawn: reduce(add, drawn).precision, resamples=5000)
    assert mine == pytest.approx((theirs.low, theirs.high), abs=5e-3)


def test_interval_is_that_of_the_summary() -> None:
    values = [0.9, 0.4, 0.7, 0.8, 0.95]
    (summary,) = summarise([ClassScore("liver", "scored", value, value, 1.0, value, 1, 1) for value in values])
    assert bootstrap(values, mean) == pytest.approx(summary.estimates["dice"].interval)


def test_interval_holds_the_pool_narrows_with_cases_and_repeats() -> None:
    cases = [Confusion(90, 10, 5, 100), Confusion(40, 30, 20, 100), Confusion(70, 5, 30, 100)]
    few, many = bootstrap(cases, pooled_f_score), bootstrap(cases * 20, pooled_f_score)
    assert few == bootstrap(cases, pooled_f_score)
    assert few != bootstrap(cases * 3, pooled_f_score, seed=1, resamples=50)
    assert few[0] <= pooled_f_score(cases) <= few[1]
    assert many[1] - many[0] < few[1] - few[0]


def test_histograms_are_resampled_as_sums() -> None:
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(5):
        label = rng.random(200) < 0.3
        cases.append(ScoreHistogram.of(label, np.clip(rng.normal(np.where(label, 0.6, 0.4), 0.2), 0, 1)))
    low, high = bootstrap(cases, lambda drawn: reduce(add, drawn).roc_auc(), resamples=50)
    assert 0.5 < low <= reduce(add, cases).roc_auc() <= high < 1


def test_resamples_without_a_value_are_left_out() -> None:
    empty, full = Confusion(0, 0, 0, 10), Confusion(8, 2, 2, 0)
    assert bootstrap([empty, full], pooled_f_score) == pytest.approx((0.8, 0.8))
    assert bootstrap([empty, empty], pooled_f_score) is None


def test_one_case_tells_nothing_of_others() -> None:
    one = Confusion(8, 2, 2, 0)
    assert bootstrap([one], pooled_f_score) is None and bootstrap([], pooled_f_score) is None
    assert resampled_sums([np.ones((2, 3))]).shape == (0, 2, 3)


def test_sums_of_draws_are_those_that_the_bootstrap_takes() -> None:
    rng = np.random.default_rng(0)
    histograms = [ScoreHistogram.of(rng.random(300) < 0.4, rng.random(300)) for _ in range(7)]
    sides = [resampled_sums([getattr(each, side) for each in histograms], resamples=30) for side in SIDES]
    at_once = [ScoreHistogram(*each).roc_auc() for each in zip(*sides, strict=True)]
    assert interval(at_once) == bootstrap(histograms, lambda drawn: reduce(add, drawn).roc_auc(), resamples=30)
