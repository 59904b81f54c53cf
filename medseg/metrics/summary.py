"""Many cases in a few numbers, with how sure they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.metrics.bootstrap import interval, resampled_sums
from medseg.metrics.score import METRICS, ClassScore

_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean over cases, None where none has the class, and its 95 % bootstrap interval, None of fewer than two."""

    mean: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ClassSummary:
    """One class over all cases: every metric's estimate, and how often each outcome occurred."""

    class_name: str
    estimates: dict[str, Estimate]
    scored: int
    misses: int
    false_alarms: int
    absent: int


def summarise(scores: Iterable[ClassScore], *, seed: int = 0) -> list[ClassSummary]:
    """Summarise the scores of many cases per class, in the order in which the classes first occur.

    Means run over the cases where the class is in label or segmentation: misses and false alarms count
    with their worst-case scores, absent ones not at all. Intervals are percentile bootstraps over cases
    (Efron 1979) of 2000 resamples drawn from `seed`.
    """
    by_class: dict[str, list[ClassScore]] = {}
    for score in scores:
        by_class.setdefault(score.class_name, []).append(score)
    return [_summary(name, each, seed) for name, each in by_class.items()]


def _summary(name: str, scores: Sequence[ClassScore], seed: int) -> ClassSummary:
    present = [score for score in scores if score.outcome != "absent"]
    table = np.array([[getattr(score, metric) for metric in METRICS] for score in present], dtype=np.float64)
    outcomes = [score.outcome for score in scores]
    return ClassSummary(
        class_name=name,
        estimates=_estimates(table, seed),
        scored=outcomes.count("scored"),
        misses=outcomes.count("missed"),
        false_alarms=outcomes.count("false_alarm"),
        absent=outcomes.count("absent"),
    )


def _estimates(table: NDArray[np.float64], seed: int) -> dict[str, Estimate]:
    """Per metric, from a table of cases x metrics."""
    if table.size == 0:
        return {metric: Estimate(None, None) for metric in METRICS}
    means = resampled_sums(list(table), resamples=_RESAMPLES, seed=seed) / len(table)
    return {
        metric: Estimate(float(mean), interval(resampled))
        for metric, mean, resampled in zip(METRICS, table.mean(axis=0), means.T, strict=True)
    }
