"""How well an image falls into the right segments: splits and mergers, not pixels.

The scores of the ISBI 2012 challenge on membranes in electron microscopy (Arganda-Carreras et al. 2015,
"Crowdsourcing the creation of image segmentation algorithms for connectomics"). Label images hold the
number of each pixel's segment, 0 on the boundaries between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

Segments = NDArray[np.integer[Any]]

THRESHOLDS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))


class PartitionScore(NamedTuple):
    """How well a partition fits the true one, 0 to 1; all NaN where the truth has no segment.

    Attributes:
        f_score: the harmonic mean of the other two (alpha = 0.5 in the paper).
        split: 1 where no true segment is split.
        merge: 1 where no true segments are merged.
    """

    f_score: float
    split: float
    merge: float


def segments(cell_interior: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the segments of a 2D mask of everything but boundary: those that hang together across edges.

    As the challenge does, not across corners: so that a diagonal boundary of single pixels parts cells.
    """
    numbered: NDArray[np.int32] = label(cell_interior)[0].astype(np.int32)
    return numbered


def thinned(proposal: Segments) -> Segments:
    """Let the segments grow until the boundaries between them are one pixel wide, or nothing, at edges.

    Each boundary pixel goes to the nearest segment, but for one pixel between any two that would touch
    across an edge. The challenge thins a proposal before it scores it, so that wide boundaries cost no
    more than thin ones; its own watershed may set the lines a pixel elsewhere.
    """
    boundary = proposal == 0
    if boundary.all() or not boundary.any():
        return proposal
    nearest = distance_transform_edt(boundary, return_distances=False, return_indices=True)
    grown: Segments = proposal[tuple(nearest)]
    for axis in range(proposal.ndim):
        # Views of the pixels before and after each edge: of two unlike ones at least one was boundary.
        before = tuple(slice(None, -1) if each == axis else slice(None) for each in range(proposal.ndim))
        after = tuple(slice(1, None) if each == axis else slice(None) for each in range(proposal.ndim))
        # One axis after the other: what already is parted across a corner needs no second pixel.
        touching = (grown[before] != grown[after]) & (grown[before] != 0) & (grown[after] != 0)
        line = np.zeros(boundary.shape, dtype=bool)
        line[before] |= touching & boundary[before]
        line[after] |= touching & ~boundary[before]
        grown[line] = 0
    return grown


def rand_score(truth: Segments, proposal: Segments) -> PartitionScore:
    """The foreground-restricted Rand score V_rand of two label images of one shape.

    With p_ij the share of pixels in segment i of the proposal and j of the truth, s_i and t_j its sums,
    split is sum p_ij^2 / sum t_j^2 and merge sum p_ij^2 / sum s_i^2: the chance that two pixels of one
    true (proposed) segment are of one proposed (true) one, each pixel paired with itself too.

    Only pixels count where the truth has a segment. Those of them on a boundary of the proposal each are
    a segment of their own, as in the challenge's code; scikit-image's `adapted_rand_error` takes them all
    as one segment, and pairs no pixel with itself.
    """
    joint, of_truth, of_proposal, lone = _contingency(truth, proposal)
    if of_truth.size == 0:
        return _no_score()
    together = _squares(joint) + lone
    split = together / _squares(of_truth)
    merge = together / (_squares(of_proposal) + lone)
    return PartitionScore(2 * split * merge / (split + merge), split, merge)


def information_score(truth: Segments, proposal: Segments) -> PartitionScore:
    """The foreground-restricted information theoretic score V_info of two label images of one shape.

    With I the mutual information of truth and proposal and H their entropies, split is I / H(proposal)
    and merge I / H(truth). The pixels that count are those of `rand_score`. A partition into one segment
    has no entropy: nothing then is split (merged), and that score is 1.
    """
    joint, of_truth, of_proposal, lone = _contingency(truth, proposal)
    if of_truth.size == 0:
        return _no_score()
    pixels = int(of_truth.sum())
    alone = lone / pixels * np.log(pixels)
    truth_entropy = _entropy(of_truth, pixels)
    proposal_entropy = _entropy(of_proposal, pixels) + alone
    # Never below nothing by rounding.
    shared = max(0.0, truth_entropy + proposal_entropy - _entropy(joint, pixels) - alone)
    split = min(1.0, shared / proposal_entropy) if proposal_entropy > 0 else 1.0
    merge = min(1.0, shared / truth_entropy) if truth_entropy > 0 else 1.0
    return PartitionScore(2 * split * merge / (split + merge) if split + merge else 0.0, split, merge)


def scores_over_thresholds(
    truth: Segments,
    probability: NDArray[np.floating[Any]],
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    thin: bool = True,
) -> NDArray[np.float64]:
    """V_rand and V_info of a slice at every threshold of the cell interior: `(thresholds, 2)`.

    The challenge reports the highest mean of many slices over the thresholds, each score at its own.

    Args:
        truth: the true segments, 2D; without any, all scores are NaN.
        probability: of each pixel to be no boundary, 0 to 1, of the same shape.
        thresholds: t of `probability >= t`.
        thin: whether to thin the proposal's boundaries, as the challenge's final scores do.

    Raises:
        ValueError: if the shapes differ.
    """
    scores = []
    for threshold in thresholds:
        proposal: Segments = segments(probability >= threshold)
        proposal = thinned(proposal) if thin else proposal
        scores.append((rand_score(truth, proposal).f_score, information_score(truth, proposal).f_score))
    return np.asarray(scores)


def _contingency(
    truth: Segments, proposal: Segments
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
    """Pixels per pair of segments, per true and per proposed one, and those that stand alone."""
    if truth.shape != proposal.shape:
        raise ValueError(f"truth {truth.shape} and proposal {proposal.shape} do not fit")
    counted = truth != 0
    of_truth = np.unique(truth[counted], return_counts=True)[1]
    inside = counted & (proposal != 0)
    true, mine = (np.unique(each[inside], return_inverse=True)[1].astype(np.int64) for each in (truth, proposal))
    of_proposal = np.bincount(mine)
    joint = np.unique(true * len(of_proposal) + mine, return_counts=True)[1]
    return joint, of_truth, of_proposal, int(counted.sum() - inside.sum())


def _squares(counts: NDArray[np.int64]) -> float:
    doubles = counts.astype(np.float64)  # squares of the pixels of a volume soon exceed 64 bits
    return float((doubles * doubles).sum())


def _entropy(counts: NDArray[np.int64], pixels: int) -> float:
    """In nats, of the shares that the counts have of all pixels."""
    shares = counts / pixels
    return float(-(shares * np.log(shares)).sum())


def _no_score() -> PartitionScore:
    return PartitionScore(float("nan"), float("nan"), float("nan"))
