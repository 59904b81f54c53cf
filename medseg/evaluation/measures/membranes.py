"""Membranes as the ISBI 2012 challenge scores them: by the cells that they part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ConfigError
from medseg.evaluation.measures.measure import Compared, Measure, estimate
from medseg.metrics import pixel_error, scores_over_thresholds, segments, warping_error
from medseg.metrics.partition import THRESHOLDS

_Best = Callable[[NDArray[np.float64]], np.intp]
# Name -> which of the means over slices is best, and how the boundaries are compared; in the order of `_scores`.
_SCORES: dict[str, tuple[_Best, str]] = {
    "v_rand": (np.argmax, ", boundaries thinned"),
    "v_info": (np.argmax, ", boundaries thinned"),
    "warping_error": (np.argmin, ", flips anywhere"),
    "pixel_error": (np.argmin, ""),
}


class MembraneMeasures(Measure):
    """V_rand, V_info, warping error and pixel error of slices in electron microscopy.

    Each is the mean over slices at that threshold of the cell interior's probability, 0.1 to 0.9, which is
    best for it, as the challenge reports them (Arganda-Carreras et al. 2015); `settings` in `summary.json`
    names the thresholds. Definitions stand in `metrics.partition` and `metrics.warping`. In a bootstrap's draw of
    slices too the best threshold is taken.

    Args:
        membrane: the structure that is the membrane; everything else is cell.
    """

    def __init__(self, membrane: str = "membrane") -> None:
        self._membrane = membrane
        super().__init__()

    def reset(self) -> None:
        """Forget every case."""
        self._slices: list[NDArray[np.float64]] = []

    def update(self, output: Compared) -> None:
        """Add one slice."""
        if self._membrane not in output.structures:
            raise ConfigError(f"MembraneMeasures: no class '{self._membrane}'; there are {list(output.structures)}")
        cells = ~output.flat(output.true(self._membrane))
        self._slices.append(_scores(cells, 1 - output.flat(output.probability(self._membrane))))

    def compute(self) -> dict[str, Any]:
        """`v_rand`, `v_info`, `warping_error`, `pixel_error` and the `settings` that give them."""
        found: dict[str, Any] = {"slices": len(self._slices)}
        settings = {}
        for column, (name, (best, how)) in enumerate(_SCORES.items()):
            slices = [each[:, column] for each in self._slices if not np.isnan(each[:, column]).any()]
            found[name] = estimate(slices, partial(_best_mean, best=best))
            if slices:
                threshold = THRESHOLDS[best(np.mean(slices, axis=0))]
                settings[name] = f"probability of cell interior >= {threshold}{how}"
        return found | {"settings": settings}


def _scores(cells: NDArray[np.bool_], probability: NDArray[np.float32]) -> NDArray[np.float64]:
    """The scores of a slice at every threshold, `(thresholds, 4)`."""
    proposals = [probability >= threshold for threshold in THRESHOLDS]
    errors = [[error(cells, proposal) for error in (warping_error, pixel_error)] for proposal in proposals]
    return np.column_stack([scores_over_thresholds(segments(cells), probability), errors])


def _best_mean(slices: Sequence[NDArray[np.float64]], best: _Best) -> float:
    means: NDArray[np.float64] = np.mean(slices, axis=0)
    return float(means[best(means)])
