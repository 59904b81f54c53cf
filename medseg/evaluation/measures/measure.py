"""What is measured over all cases of an evaluation, beside the scores of every case and class."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from ignite.metrics import Metric
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medseg.errors import DatasetError
from medseg.metrics import bootstrap, interval

Structures = Mapping[str, Sequence[int]]
Case = TypeVar("Case")
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Compared:
    """One case: what is true and what was found, on the scan's own grid.

    Attributes:
        case: its name.
        structures: name -> the class values it is made of; classes first, then regions of several classes.
        label: class values `(i, j, k)`; a picture has k of length 1; 0 outside of the mask.
        segmentation: class values, likewise.
        probabilities: `(i, j, k, class)` float32, the background first.
        mask: where results count; None where they do everywhere.
        observer: class values by a second observer; None where there is none.
    """

    case: str
    structures: Structures
    label: NDArray[Any]
    segmentation: NDArray[Any]
    probabilities: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None
    observer: NDArray[Any] | None = None

    def true(self, name: str) -> NDArray[np.bool_]:
        """Where the label has a structure."""
        return np.isin(self.label, self.structures[name])

    def found(self, name: str) -> NDArray[np.bool_]:
        """Where the segmentation has a structure."""
        return np.isin(self.segmentation, self.structures[name])

    def flat(self, array: NDArray[Kind]) -> NDArray[Kind]:
        """An array `(i, j, 1)` of a picture as `(i, j)`.

        Raises:
            DatasetError: if this case is a volume.
        """
        if array.shape[2] != 1:
            raise DatasetError(f"{self.case}: a volume of {array.shape} voxels; this measure takes single slices")
        return array[:, :, 0]

    def probability(self, name: str) -> NDArray[np.float32]:
        """Of a structure, 0 to 1: the sum of its classes'."""
        total: NDArray[np.float32] = self.probabilities[..., list(self.structures[name])].sum(axis=-1).clip(0, 1)
        return total


class Measure(Metric):
    """An ignite metric that is updated with `Compared` cases; `compute` gives what `summary.json` holds."""

    @abstractmethod
    def reset(self) -> None:
        """Forget every case."""

    @abstractmethod
    def update(self, output: Compared) -> None:
        """Add one case."""

    @abstractmethod
    def compute(self) -> dict[str, Any]:
        """Name -> estimate or number, nested."""

    def failures(self) -> dict[str, str]:
        """What `compute` had to leave out -> why, and what to do; the names may name patients."""
        return {}

    def figures(self) -> dict[str, Figure]:
        """File name without suffix -> what to look at."""
        return {}


def estimate(
    cases: Sequence[Case], statistic: Callable[[Sequence[Case]], float], *, resamples: int = 1000
) -> dict[str, Any]:
    """A statistic of all cases and its 95 % bootstrap interval over cases; None where it has none."""
    value = statistic(cases) if cases else float("nan")
    if math.isnan(value):
        return {"value": None, "interval": None}
    return {"value": value, "interval": _listed(bootstrap(cases, statistic, resamples=resamples))}


def estimate_of(value: float, resampled: Sequence[float]) -> dict[str, Any]:
    """The same of a statistic whose resamples are known."""
    return {"value": number(value), "interval": None if math.isnan(value) else _listed(interval(resampled))}


def _listed(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else list(bounds)


def mean(values: Sequence[float]) -> float:
    """The mean of the values that are numbers; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def share(part: float, whole: float) -> float:
    """`part / whole`; NaN of nothing."""
    return float(part / whole) if whole else float("nan")


def number(value: float) -> float | None:
    """A value as JSON holds it: None where it is NaN."""
    return None if math.isnan(value) else value
