"""Membranes as the ISBI 2012 challenge scores them: by the cells that they part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ConfigError
from medseg.evaluation.measures.measure import Compared, Measure, number
from medseg.metrics import best_over_thresholds, pixel_error, segments, warping_error
from medseg.metrics.partition import THRESHOLDS


class MembraneMeasures(Measure):
    """V_rand, V_info, warping error and pixel error of slices in electron microscopy.

    Each is the mean over slices at that threshold of the cell interior's probability, 0.1 to 0.9, which is
    best for it, as the challenge reports them (Arganda-Carreras et al. 2015); `settings` in `summary.json`
    names the thresholds. Definitions stand in `metrics.partition` and `metrics.warping`.

    Args:
        membrane: the structure that is the membrane; everything else is cell.
    """

    def __init__(self, membrane: str = "membrane") -> None:
        self._membrane = membrane
        super().__init__()

    def reset(self) -> None:
        """Forget every case."""
        self._cells: list[NDArray[np.bool_]] = []
        self._probabilities: list[NDArray[np.float32]] = []

    def update(self, output: Compared) -> None:
        """Add one slice."""
        if self._membrane not in output.structures:
            raise ConfigError(f"MembraneMeasures: no class '{self._membrane}'; there are {list(output.structures)}")
        self._cells.append(~output.flat(output.true(self._membrane)))
        self._probabilities.append(1 - output.flat(output.probability(self._membrane)))

    def compute(self) -> dict[str, Any]:
        """`v_rand`, `v_info`, `warping_error`, `pixel_error` and the `settings` that give them."""
        if not self._cells:
            return {"slices": 0}
        best = best_over_thresholds([segments(cells) for cells in self._cells], self._probabilities)
        warping, warping_at = self._lowest(warping_error)
        pixels, pixels_at = self._lowest(pixel_error)
        return {
            "v_rand": number(best.rand),
            "v_info": number(best.information),
            "warping_error": warping,
            "pixel_error": pixels,
            "slices": len(self._cells),
            "settings": {
                "v_rand": f"probability of cell interior >= {best.rand_threshold}, boundaries thinned",
                "v_info": f"probability of cell interior >= {best.information_threshold}, boundaries thinned",
                "warping_error": f"probability of cell interior >= {warping_at}, flips anywhere",
                "pixel_error": f"probability of cell interior >= {pixels_at}",
            },
        }

    def _lowest(self, error: Any) -> tuple[float, float]:
        """The lowest mean over slices of an error, and its threshold."""
        means = [
            float(np.mean([error(cells, p >= t) for cells, p in zip(self._cells, self._probabilities, strict=True)]))
            for t in THRESHOLDS
        ]
        lowest = int(np.argmin(means))
        return means[lowest], THRESHOLDS[lowest]
