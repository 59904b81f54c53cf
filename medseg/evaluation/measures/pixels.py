"""All pixels of all cases pooled: how many are right, and how well their probabilities rank them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medseg.errors import DatasetError
from medseg.evaluation.measures.measure import Compared, Measure, estimate, estimate_of, mean, share
from medseg.metrics import Confusion, ScoreHistogram, resampled_sums
from medseg.pictures import OperatingPoint, RankingCurve, roc_pr_figure

_SHARES = ("f_score", "sensitivity", "specificity", "precision", "iou", "accuracy")
_LEAST_PROBABILITY = 1e-12
_RESAMPLES, _RANKING_RESAMPLES = 1000, 200  # each of the latter takes 2 MB


class PixelMeasures(Measure):
    """Accuracy, mean IoU, loss, and per structure F-score, sensitivity, specificity, precision, IoU, ROC AUC and AP.

    Pixels outside of a case's mask do not count. `accuracy` is the share of pixels with the right class;
    `mean_iou` the mean over the classes that occur, background included, of their pooled IoU (as Everingham
    et al. 2015 for VOC); `loss` is the mean cross-entropy of the pixels in nats. The second observer's
    shares are of their label against the first's.
    `summary.json` holds values with 95 % bootstrap intervals over cases.
    """

    def reset(self) -> None:
        """Forget every case."""
        self._tables: list[NDArray[np.int64]] = []  # pixels per true and found class, a table per case
        self._losses: list[tuple[float, int]] = []
        self._confusions: dict[str, list[Confusion]] = {}
        self._histograms: dict[str, list[ScoreHistogram]] = {}
        self._observer: dict[str, list[Confusion]] = {}

    def update(self, output: Compared) -> None:
        """Add one case.

        Raises:
            DatasetError: if its label or segmentation holds values that the probabilities are not of.
        """
        _check_values(output)
        self._tables.append(_table(output))
        self._losses.append(_loss(output))
        for name, values in output.structures.items():
            true, mask = output.true(name), output.mask
            self._confusions.setdefault(name, []).append(Confusion.of(true, output.found(name), mask))
            self._histograms.setdefault(name, []).append(ScoreHistogram.of(true, output.probability(name), mask))
            if output.observer is not None:
                second = Confusion.of(true, np.isin(output.observer, values), mask)
                self._observer.setdefault(name, []).append(second)

    def compute(self) -> dict[str, Any]:
        """See the class."""
        found: dict[str, Any] = {
            "accuracy": estimate(self._tables, _accuracy),
            "mean_iou": estimate(self._tables, _mean_iou),
            "loss": estimate(
                self._losses, lambda cases: share(sum(each for each, _ in cases), sum(n for _, n in cases))
            ),
            "structures": {
                name: _shares(confusions) | _ranking(self._histograms[name])
                for name, confusions in self._confusions.items()
            },
        }
        if self._observer:
            found["second_observer"] = {name: _shares(each) for name, each in self._observer.items()}
        return found

    def figures(self) -> dict[str, Figure]:
        """The ROC and precision-recall curves, with the points at which the segmentations and the observer stand."""
        curves, points = [], []
        for name, histograms in self._histograms.items():
            pooled: ScoreHistogram = reduce(add, histograms)
            curves.append(
                RankingCurve(name, pooled.roc_curve(), pooled.pr_curve(), pooled.roc_auc(), pooled.average_precision())
            )
            for who, confusions in ((name, self._confusions), (f"{name}, second observer", self._observer)):
                if name in confusions:
                    points.append(_point(who, reduce(add, confusions[name])))
        return {"roc_pr": roc_pr_figure(curves, points)} if curves else {}


def _point(name: str, counts: Confusion) -> OperatingPoint:
    return OperatingPoint(name, 1 - counts.specificity, counts.sensitivity, counts.precision)


def _shares(confusions: Sequence[Confusion]) -> dict[str, Any]:
    sums = resampled_sums([np.array(astuple(each)) for each in confusions], resamples=_RESAMPLES)
    draws = [Confusion(*map(int, each)) for each in sums]
    pooled: Confusion = reduce(add, confusions)
    return {name: estimate_of(getattr(pooled, name), [getattr(each, name) for each in draws]) for name in _SHARES}


def _ranking(histograms: Sequence[ScoreHistogram]) -> dict[str, Any]:
    positives, negatives = (
        resampled_sums([getattr(each, side) for each in histograms], resamples=_RANKING_RESAMPLES)
        for side in ("positives", "negatives")
    )
    draws = [ScoreHistogram(*each) for each in zip(positives, negatives, strict=True)]
    pooled: ScoreHistogram = reduce(add, histograms)
    return {
        "roc_auc": estimate_of(pooled.roc_auc(), [each.roc_auc() for each in draws]),
        "average_precision": estimate_of(pooled.average_precision(), [each.average_precision() for each in draws]),
    }


def _check_values(case: Compared) -> None:
    classes = case.probabilities.shape[-1]
    for what, array in (("label", case.label), ("segmentation", case.segmentation)):
        unknown = [int(value) for value in np.unique(array) if not 0 <= value < classes]
        if unknown:
            raise DatasetError(f"{case.case}: the {what} holds the values {unknown}; classes are 0 to {classes - 1}")


def _table(case: Compared) -> NDArray[np.int64]:
    classes = case.probabilities.shape[-1]
    counted = np.ones(case.label.shape, bool) if case.mask is None else case.mask
    index = case.label[counted].astype(np.int64) * classes + case.segmentation[counted]
    return np.bincount(index, minlength=classes**2).reshape(classes, classes)


def _loss(case: Compared) -> tuple[float, int]:
    """The sum of the cross-entropies of a case's pixels, and their number."""
    counted = np.ones(case.label.shape, bool) if case.mask is None else case.mask
    of_truth = np.take_along_axis(case.probabilities, case.label[..., None], axis=-1)[..., 0][counted]
    return float(-np.log(np.maximum(of_truth, _LEAST_PROBABILITY)).sum(dtype=np.float64)), int(counted.sum())


def _accuracy(tables: Sequence[NDArray[np.int64]]) -> float:
    total = np.sum(tables, axis=0)
    return share(np.trace(total), total.sum())


def _mean_iou(tables: Sequence[NDArray[np.int64]]) -> float:
    total = np.sum(tables, axis=0)
    both = np.diag(total)
    either = total.sum(axis=0) + total.sum(axis=1) - both
    return mean([share(b, e) for b, e in zip(both, either, strict=True)])
