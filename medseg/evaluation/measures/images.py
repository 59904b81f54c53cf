"""Images that hold nothing count too: the Dice of all images, and of those that hold something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medseg.evaluation.measures.measure import Compared, Measure, estimate, mean
from medseg.metrics import dice


class ImageDice(Measure):
    """Per structure the mean Dice over images, an image that is rightly found empty counting 1.

    As the Kaggle challenge on nerves in ultrasound (2016) scores. Since finding nothing at all then earns the
    share of empty images, `predicting_nothing` stands beside `dice`, and `dice_non_empty` is the mean over
    the images whose label holds the structure.
    """

    def reset(self) -> None:
        """Forget every case."""
        self._scores: dict[str, list[tuple[float, bool]]] = {}

    def update(self, output: Compared) -> None:
        """Add one image."""
        for name in output.structures:
            true, found = output.true(name), output.found(name)
            score = dice(true, found) if true.any() or found.any() else 1.0
            self._scores.setdefault(name, []).append((score, bool(true.any())))

    def compute(self) -> dict[str, Any]:
        """Structure -> `dice`, `dice_non_empty`, `predicting_nothing`, `images`, `empty_images`."""
        return {name: _summary(scores) for name, scores in self._scores.items()}


def _summary(scores: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    empty = [1.0 if not has else 0.0 for _, has in scores]
    return {
        "dice": estimate(scores, lambda cases: mean([score for score, _ in cases])),
        "dice_non_empty": estimate(scores, lambda cases: mean([score for score, has in cases if has])),
        "predicting_nothing": mean(empty),
        "images": len(scores),
        "empty_images": int(sum(empty)),
    }
