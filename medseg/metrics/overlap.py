"""How much of two masks coincides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dice(label: NDArray[np.bool_], segmentation: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|) of two boolean masks of one shape; NaN where both are empty (Dice, 1945)."""
    size = int(label.sum()) + int(segmentation.sum())
    return 2 * int((label & segmentation).sum()) / size if size else float("nan")


def iou(label: NDArray[np.bool_], segmentation: NDArray[np.bool_]) -> float:
    """|A and B| / |A or B| of two boolean masks of one shape; NaN where both are empty (Jaccard, 1912)."""
    union = int((label | segmentation).sum())
    return int((label & segmentation).sum()) / union if union else float("nan")
