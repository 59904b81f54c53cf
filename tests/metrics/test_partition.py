"""Scores of segments by hand, against scikit-image and scikit-learn, and what changes them."""

from __future__ import annotations

from math import isnan, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import adapted_rand_error, contingency_table, variation_of_information
from skimage.segmentation import watershed
from sklearn.metrics.cluster import homogeneity_completeness_v_measure

from medseg.metrics import information_score, rand_score, scores_over_thresholds, segments, thinned

LABELS = npst.arrays(np.int64, (2, 5, 6), elements=st.integers(0, 3))


def halves(width: int = 10) -> NDArray[np.int64]:
    """Two cells of 4 columns of 6 pixels beside a boundary of two columns."""
    image = np.zeros((6, width), dtype=np.int64)
    image[:, :4], image[:, -4:] = 1, 2
    return image


def alone(proposal: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rule for boundary pixels of the proposal, spelt out: each its own segment."""
    given_away = proposal.copy()
    given_away[proposal == 0] = np.arange((proposal == 0).sum()) + 100
    return given_away


def test_merged_halves_by_hand() -> None:
    """Of two equal segments merged, half of the pairs of the merged one belong together."""
    merged = np.ones((6, 10), dtype=np.int64)
    assert rand_score(halves(), merged) == pytest.approx((2 / 3, 1, 0.5))
    assert information_score(halves(), merged) == pytest.approx((0, 1, 0))


def test_split_half_by_hand() -> None:
    """t = 1/2, 1/2 and s = p = 1/2, 1/4, 1/4, so that I = H(truth) = log 2 and H(proposal) = 1.5 log 2."""
    proposal = halves()
    proposal[:3, -4:] = 3
    assert rand_score(halves(), proposal) == pytest.approx((2 * 0.75 / 1.75, 3 / 4, 1))
    assert information_score(halves(), proposal) == pytest.approx((0.8, 2 / 3, 1))


def test_pixels_on_a_proposed_boundary_stand_alone_by_hand() -> None:
    """One true segment of 4 pixels, two of them lost: p = 1/2, 1/4, 1/4."""
    truth, proposal = np.ones((2, 2), np.int64), np.array([[1, 1], [0, 0]])
    assert rand_score(truth, proposal) == pytest.approx((2 * 6 / (16 + 6), 6 / 16, 1))
    truth = np.array([[1, 1], [2, 2]])
    # H(truth) = log 2, H(proposal) = H(both) = log 2 / 2 + 2 log 4 / 4 = 1.5 log 2.
    assert information_score(truth, proposal) == pytest.approx((0.8, log(2) / (1.5 * log(2)), 1))


@given(images=LABELS)
def test_rand_equals_scikit_images(images: NDArray[np.int64]) -> None:
    """Theirs leaves out a pixel's pair with itself, and takes boundary for a segment: both undone here."""
    truth, proposal = images
    if not truth.any():
        return
    table = contingency_table(truth, alone(proposal), ignore_labels=[0], sparse_type="array").toarray()[1:]
    together = (table**2).sum()
    split = together / (table.sum(axis=1) ** 2).sum()
    merge = together / (table.sum(axis=0) ** 2).sum()
    assert rand_score(truth, proposal) == pytest.approx((2 / (1 / split + 1 / merge), split, merge))


def test_rand_of_large_segments_is_scikit_images_adapted_rand_error() -> None:
    """With segments of many pixels and no boundary in the proposal, both definitions meet.

    Sorted, for scikit-image 0.26 divides its precision by the true segments, which its manual calls recall.
    """
    truth = np.kron(np.arange(9).reshape(3, 3), np.ones((64, 64), dtype=np.int64))
    proposal = np.kron(np.array([[1, 2, 3, 3], [1, 2, 4, 5]]), np.ones((96, 48), dtype=np.int64))
    error, precision, recall = adapted_rand_error(truth, proposal)
    score = rand_score(truth, proposal)
    assert score.f_score == pytest.approx(1 - error, abs=1e-3)
    assert sorted(score[1:]) == pytest.approx(sorted((precision, recall)), abs=1e-3)


@given(images=LABELS)
def test_information_equals_scikit_learns(images: NDArray[np.int64]) -> None:
    """Homogeneity is I / H(truth), completeness I / H(proposal) (Rosenberg and Hirschberg 2007)."""
    truth, proposal = images
    if not truth.any():
        return
    inside = truth != 0
    merge, split, f_score = homogeneity_completeness_v_measure(truth[inside], alone(proposal)[inside])
    assert information_score(truth, proposal) == pytest.approx((f_score, split, merge), abs=1e-9)


def test_information_equals_scikit_images_entropies() -> None:
    rng = np.random.default_rng(0)
    truth, proposal = rng.integers(1, 5, (2, 30, 30))
    proposal = np.where(rng.random(truth.shape) < 0.7, truth, proposal)
    splits, mergers = variation_of_information(truth, proposal) * log(2)
    shares = [np.unique(each, return_counts=True)[1] / truth.size for each in (truth, proposal)]
    of_truth, of_proposal = (float(-(share * np.log(share)).sum()) for share in shares)
    score = information_score(truth, proposal)
    assert score.split == pytest.approx(1 - splits / of_proposal)
    assert score.merge == pytest.approx(1 - mergers / of_truth)


@given(images=LABELS, numbers=st.permutations([1, 2, 3]))
def test_numbers_of_segments_and_true_boundaries_do_not_matter(images: NDArray[np.int64], numbers: list[int]) -> None:
    truth, proposal = images
    renumbered = np.array([0, *numbers])[proposal]
    elsewhere = np.where(truth == 0, 1, proposal)
    for score in (rand_score, information_score):
        assert score(truth, renumbered) == pytest.approx(score(truth, proposal), nan_ok=True)
        assert score(truth, elsewhere) == pytest.approx(score(truth, proposal), nan_ok=True)


@given(images=LABELS)
def test_truth_itself_is_perfect_and_nothing_beats_it(images: NDArray[np.int64]) -> None:
    truth, proposal = images
    for score in (rand_score, information_score):
        if truth.any():
            assert score(truth, truth) == pytest.approx((1, 1, 1))
            assert all(0 <= each <= 1 + 1e-12 for each in score(truth, proposal))
        else:
            assert all(isnan(each) for each in score(truth, proposal))


def test_segments_touch_across_edges_only() -> None:
    interior = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
    np.testing.assert_array_equal(segments(interior), [[1, 1, 0], [1, 0, 2], [0, 2, 2]])


def test_wide_boundary_is_thinned_to_one_pixel() -> None:
    proposal = halves(width=15)
    line = thinned(proposal) == 0
    np.testing.assert_array_equal(line.sum(axis=1), 1)
    np.testing.assert_array_equal(thinned(halves(width=9)), halves(width=9))


@given(proposal=npst.arrays(bool, (7, 8)))
def test_thinning_keeps_the_segments_apart(proposal: NDArray[np.bool_]) -> None:
    numbered = segments(proposal)
    grown = thinned(numbered)
    np.testing.assert_array_equal(grown[proposal], numbered[proposal])
    for before, after in ((grown[:-1], grown[1:]), (grown[:, :-1], grown[:, 1:])):
        assert ((before == after) | (before == 0) | (after == 0)).all()


def test_scores_after_thinning_are_those_after_a_watershed() -> None:
    """The challenge thins by a watershed: its lines differ by a pixel here and there, the scores hardly."""
    rng = np.random.default_rng(0)
    smooth, other = (gaussian_filter(rng.normal(size=(128, 128)), 6, mode="wrap") for _ in range(2))
    truth = segments(np.abs(smooth) > 0.2 * smooth.std())
    proposal = segments(np.abs(smooth + 0.2 * other) > 0.4 * smooth.std())
    flooded = watershed((proposal == 0).astype(float), markers=proposal, watershed_line=True)
    for score in (rand_score, information_score):
        mine, theirs = score(truth, thinned(proposal)), score(truth, flooded)
        assert list(mine) == pytest.approx(list(theirs), abs=0.01)


def test_scores_of_a_slice_at_every_threshold() -> None:
    truth = halves()
    leaky = np.where(truth == 0, 0.65, 0.95)
    scores = scores_over_thresholds(truth, leaky, thresholds=[0.5, 0.7])
    assert scores == pytest.approx(np.array([[2 / 3, 0], [1, 1]]))


def test_slice_without_a_true_segment_has_no_score() -> None:
    assert np.isnan(scores_over_thresholds(0 * halves(), np.full(halves().shape, 0.8))).all()


def test_wide_boundaries_cost_nothing_once_thinned() -> None:
    truth = np.zeros((40, 41), dtype=np.int64)
    truth[:, :20], truth[:, 21:] = 1, 2
    probability = np.where(np.abs(np.arange(41) - 20) < 4, 0.0, 1.0) * np.ones((40, 1))
    wide, thin = (scores_over_thresholds(truth, probability, [0.5], thin=each)[0, 0] for each in (False, True))
    assert wide < 0.9
    assert thin > 0.97


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        rand_score(halves(), halves(11))
