"""How many pixels were right and wrong, and in which way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Confusion:
    """Counts of pixels (or voxels) of one or many cases; every share of them is NaN where it is 0/0.

    Counts of cases add up, so that a share of their sum is one of all their pixels pooled, not a mean over
    cases.

    Attributes:
        tp: in label and segmentation.
        fp: in the segmentation alone.
        fn: in the label alone.
        tn: in neither.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(
        cls, label: NDArray[np.bool_], segmentation: NDArray[np.bool_], mask: NDArray[np.bool_] | None = None
    ) -> Confusion:
        """Count one case.

        Args:
            label: the true mask, of any shape.
            segmentation: the predicted mask, of the same shape.
            mask: the pixels that count, of the same shape, such as the field of view of a fundus camera;
                without it all do.

        Raises:
            ValueError: if the shapes differ.
        """
        if label.shape != segmentation.shape or (mask is not None and mask.shape != label.shape):
            shape = None if mask is None else mask.shape
            raise ValueError(f"label {label.shape}, segmentation {segmentation.shape} and mask {shape} do not fit")
        if mask is not None:
            label, segmentation = label[mask], segmentation[mask]
        tp = int((label & segmentation).sum())
        fp = int(segmentation.sum()) - tp
        fn = int(label.sum()) - tp
        return cls(tp=tp, fp=fp, fn=fn, tn=label.size - tp - fp - fn)

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def accuracy(self) -> float:
        """The share of all pixels that are right."""
        return _share(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def sensitivity(self) -> float:
        """The share of the label that was found, also called recall; NaN without any label."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """The share of the background that was left alone; NaN without any background."""
        return _share(self.tn, self.tn + self.fp)

    @property
    def precision(self) -> float:
        """The share of the segmentation that is right; NaN where it is empty."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def f_score(self) -> float:
        """The harmonic mean of precision and sensitivity, which is the Dice; NaN where both masks are empty."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """The share of the union that coincides (Jaccard, 1912); NaN where both masks are empty."""
        return _share(self.tp, self.tp + self.fp + self.fn)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
