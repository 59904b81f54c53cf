"""How well probabilities rank the pixels of a label above the others, over all thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bins that split each octave of the distance to the nearer of 0 and 1, and of these octaves: 2**17 bins in all.
_PER_OCTAVE, _OCTAVES = 2**11, 32
_HALF = _PER_OCTAVE * _OCTAVES

# Of a double, the bits below the first eleven of its fraction, and what those above them make of 2**-33.
_DROPPED = 41
_SMALLEST = int(np.float64(2.0**-33).view(np.int64)) >> _DROPPED

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """How many pixels of the label and of the background have each probability, of one or many cases.

    Of 2**17 bins, those below 0.5 split each octave (0.25 to 0.5, 0.125 to 0.25, ...) down to 2**-33 into
    2048 equal parts, and those above mirror them: networks trained on Dice crowd at 0 and 1, where bins of
    one width would take most of their pixels for ties. Probabilities within one bin are ties, at its lower
    edge. Histograms add up: any number of cases takes the memory of one, and a resample of cases is a sum.

    Attributes:
        positives: pixels of the label per bin.
        negatives: pixels of the background per bin.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        label: NDArray[np.bool_],
        probability: NDArray[np.floating[Any]],
        mask: NDArray[np.bool_] | None = None,
    ) -> ScoreHistogram:
        """Count one case.

        Args:
            label: the true mask, of any shape.
            probability: of the label, 0 to 1, of the same shape.
            mask: the pixels that count, of the same shape; without it all do.

        Raises:
            ValueError: if the shapes differ, or a probability that counts is NaN or outside of 0 to 1.
        """
        if label.shape != probability.shape or (mask is not None and mask.shape != label.shape):
            shape = None if mask is None else mask.shape
            raise ValueError(f"label {label.shape}, probability {probability.shape} and mask {shape} do not fit")
        counted = np.ones(label.shape, dtype=bool) if mask is None else mask
        scores, true = probability[counted].astype(np.float64), label[counted]
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("a probability lies outside of 0 to 1, or is NaN")
        index = _bins(scores)
        return cls(
            positives=np.bincount(index[true], minlength=2 * _HALF).astype(np.int64),
            negatives=np.bincount(index[~true], minlength=2 * _HALF).astype(np.int64),
        )

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        return ScoreHistogram(self.positives + other.positives, self.negatives + other.negatives)

    def roc_auc(self) -> float:
        """The chance that a pixel of the label ranks above one of the background, ties counting half.

        Hanley and McNeil 1982; NaN where there is no label or no background.
        """
        if self._one_sided():
            return float("nan")
        tp, fp = self._found()
        # In doubles: a product of pixel counts soon exceeds 64 bits. Trapezia: ties count half.
        area = float((np.diff(fp) * (tp[1:] + tp[:-1])).sum() / 2)
        return area / float(tp[-1] * fp[-1])

    def average_precision(self) -> float:
        """The mean precision over the thresholds, weighted by the recall each adds, without interpolation.

        As scikit-learn's `average_precision_score`; NaN where there is no label or no background.
        """
        if self._one_sided():
            return float("nan")
        tp, fp = self._found()
        precision = tp[1:] / np.maximum(tp[1:] + fp[1:], 1)
        return float((np.diff(tp) * precision).sum() / tp[-1])

    def roc_curve(self, points: int = 512) -> Curve:
        """False and true positive rates from (0, 0) to (1, 1), at most `points` of the curve's own points.

        Both empty where there is no label or no background.
        """
        if self._one_sided():
            return np.empty(0), np.empty(0)
        tp, fp = self._found()
        return _thinned(fp / fp[-1], tp / tp[-1], points)

    def pr_curve(self, points: int = 512) -> Curve:
        """Recalls, ascending, and their precisions, at most `points` of the curve's own points.

        Starts at the highest probability that occurs: nothing has no precision. Both empty where there is
        no label or no background.
        """
        if self._one_sided():
            return np.empty(0), np.empty(0)
        tp, fp = self._found()
        some = tp + fp > 0
        tp, fp = tp[some], fp[some]
        return _thinned(tp / tp[-1], tp / (tp + fp), points)

    def best_threshold(self) -> tuple[float, float]:
        """The threshold t of `probability >= t` with the highest F-score, and that score.

        The highest such threshold, at the lower edge of a bin; both NaN where there is no label.
        """
        if not self.positives.any():
            return float("nan"), float("nan")
        tp, fp = self._found()
        # 2 tp + fp + fn = tp + fp + all of the label.
        f_scores = 2 * tp[1:] / (tp[1:] + fp[1:] + tp[-1])
        best = int(np.argmax(f_scores))
        return _lower_edge(2 * _HALF - 1 - best), float(f_scores[best])

    def _one_sided(self) -> bool:
        return not self.positives.any() or not self.negatives.any()

    def _found(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """True and false positives above each threshold, the highest first, from none to all."""
        tp, fp = (
            np.concatenate([[0.0], np.cumsum(counts[::-1]).astype(np.float64)])
            for counts in (self.positives, self.negatives)
        )
        return tp, fp


def _bins(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each score: the exponent and first eleven bits of the fraction of its distance to 0 or 1."""
    below = (scores.view(np.int64) >> _DROPPED) - _SMALLEST
    # The distance to 1 is exact in doubles; one less, as bins have their lower edge and not their upper.
    above = ((1 - scores).view(np.int64) - 1 >> _DROPPED) - _SMALLEST
    index: NDArray[np.int64] = np.where(scores < 0.5, np.maximum(below, 0), 2 * _HALF - 1 - np.maximum(above, 0))
    return index


def _lower_edge(index: int) -> float:
    if index == 0:
        return 0.0
    if index < _HALF:
        return _double(index)
    return 1 - _double(2 * _HALF - index)


def _double(index: int) -> float:
    return float(np.int64((index + _SMALLEST) << _DROPPED).view(np.float64))


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64], points: int) -> Curve:
    """At most `points` of the points of a curve, even along its length, its ends among them."""
    steps = np.abs(np.diff(x)) + np.abs(np.diff(y))
    length = np.concatenate([[0.0], np.cumsum(steps)])
    # The first of equal points, so that none comes twice; the last one in any case.
    kept = np.searchsorted(length, np.linspace(0, length[-1], points))
    kept = np.unique(np.minimum(kept, np.searchsorted(length, length[-1])))
    return x[kept], y[kept]
