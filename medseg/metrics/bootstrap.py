"""How sure a number is that is taken of all cases together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

_INTERVAL = (2.5, 97.5)

Case = TypeVar("Case")


def bootstrap(
    cases: Sequence[Case], statistic: Callable[[Sequence[Case]], float], *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
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
        The lower and upper bound; both NaN without cases, or where every resample is NaN.
    """
    if not cases:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(cases), size=(resamples, len(cases)))
    values = np.array([statistic([cases[index] for index in draw]) for draw in drawn], dtype=np.float64)
    known = values[~np.isnan(values)]
    if known.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(known, _INTERVAL)
    return float(low), float(high)
