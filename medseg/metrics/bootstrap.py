"""How sure a number is that is taken of all cases together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_INTERVAL = (2.5, 97.5)
_BLOCK = 1 << 12  # of a case's counts

Case = TypeVar("Case")


def bootstrap(
    cases: Sequence[Case], statistic: Callable[[Sequence[Case]], float], *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """The percentile bootstrap's 95 % interval of a statistic over cases (Efron 1979).

    Cases are drawn whole, with replacement: pixels of one case depend on each other, so that an interval
    over pixels would be far too narrow.

    Args:
        cases: whatever the statistic takes, such as a `Confusion` or `ScoreHistogram` of each case.
        statistic: of any draw of cases, such as the F-score of their sum; resamples of which it is NaN
            are left out.
        resamples: how many draws.
        seed: of the draws.

    Returns:
        The lower and upper bound; None with fewer than two cases, or where every resample is NaN.
    """
    return interval([statistic([cases[index] for index in draw]) for draw in _drawn(len(cases), resamples, seed)])


def resampled_sums(counts: Sequence[NDArray[Any]], *, resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """The sums of the draws that `bootstrap` takes, at once: for statistics of sums, in a fraction of the time.

    Args:
        counts: of each case, all of one shape, such as those of a `Confusion` or of a `ScoreHistogram`.
        resamples: how many draws.
        seed: of the draws.

    Returns:
        A sum per draw: `(resamples, shape...)`; no draw of fewer than two cases.
    """
    drawn = _drawn(len(counts), resamples, seed)
    if not len(drawn):
        return np.empty((0, *counts[0].shape))
    times = np.stack([np.bincount(draw, minlength=len(counts)) for draw in drawn]).astype(np.float64)
    rows = [each.reshape(-1) for each in counts]
    sums = np.empty((resamples, rows[0].size))
    for start in range(0, rows[0].size, _BLOCK):  # a matrix of all cases would double what they take
        part = slice(start, start + _BLOCK)
        sums[:, part] = times @ np.stack([row[part] for row in rows]).astype(np.float64)
    return sums.reshape(resamples, *counts[0].shape)


def interval(values: Sequence[float] | NDArray[np.floating[Any]]) -> tuple[float, float] | None:
    """The 2.5th and 97.5th percentile of a statistic's resamples; None where none of them is a number."""
    found = np.array(values, dtype=np.float64)
    known = found[~np.isnan(found)]
    if known.size == 0:
        return None
    low, high = np.percentile(known, _INTERVAL)
    return float(low), float(high)


def _drawn(cases: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """The indices of the cases of every draw; none with fewer than two cases, which tell nothing of others."""
    if cases < 2:
        return np.empty((0, 0), np.int64)
    return np.random.default_rng(seed).integers(cases, size=(resamples, cases))
