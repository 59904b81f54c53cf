"""Weighted cross-entropy by its formula, and labels cropped to what a network without padding gives."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss

from medseg.errors import ConfigError
from medseg.losses import CentreCropped, WeightedCrossEntropy


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classes(*shape: int, count: int = 3) -> torch.Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(1)).float()


def by_formula(logits: torch.Tensor, label: torch.Tensor) -> float:
    """Pixel by pixel: -w log(exp(logit of the class) / sum of exp(logits)), over the sum of w."""
    total = weights = 0.0
    for scores, (number, weight) in zip(
        logits.movedim(1, -1).flatten(0, -2).tolist(), label.movedim(1, -1).flatten(0, -2).tolist(), strict=True
    ):
        total -= weight * math.log(math.exp(scores[int(number)]) / sum(map(math.exp, scores)))
        weights += weight
    return total / weights


@pytest.mark.parametrize("size", [(4, 5), (2, 3, 4)])
def test_weighted_by_formula(size: tuple[int, ...]) -> None:
    logits = numbers(2, 3, *size)
    label = torch.cat([classes(2, 1, *size), numbers(2, 1, *size, seed=2).abs()], dim=1)
    assert float(WeightedCrossEntropy()(logits, label)) == pytest.approx(by_formula(logits, label), rel=1e-5)


def test_one_pixel_by_hand() -> None:
    """Two pixels of probability 1/2 and 1/4, the second three times as heavy: (log 2 + 3 log 4) / 4."""
    logits = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])
    label = torch.tensor([[[[1.0, 1.0]], [[1.0, 3.0]]]])
    assert float(WeightedCrossEntropy()(logits, label)) == pytest.approx((math.log(2) + 3 * math.log(4)) / 4)


def test_without_weights_and_with_equal_ones_it_is_the_mean() -> None:
    logits, label = numbers(2, 3, 4, 5), classes(2, 1, 4, 5)
    mean = torch.nn.functional.cross_entropy(logits, label[:, 0].long())
    assert torch.isclose(WeightedCrossEntropy()(logits, label), mean)
    assert torch.isclose(WeightedCrossEntropy()(logits, torch.cat([label, torch.full_like(label, 7)], dim=1)), mean)


def test_larger_label_and_its_weights_are_cropped_to_the_middle() -> None:
    logits = numbers(2, 3, 4, 5)
    label = torch.cat([classes(2, 1, 10, 7), numbers(2, 1, 10, 7, seed=2).abs()], dim=1)
    expected = WeightedCrossEntropy()(logits, label[..., 3:7, 1:6])
    assert torch.equal(WeightedCrossEntropy()(logits, label), expected)


def test_pixels_of_no_weight_do_not_count_and_a_patch_of_none_costs_nothing() -> None:
    logits = numbers(1, 2, 4, 4).requires_grad_()
    label = torch.cat([classes(1, 1, 4, 4, count=2), torch.zeros(1, 1, 4, 4)], dim=1)
    loss = WeightedCrossEntropy()(logits, label)
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None and not logits.grad.any()
    label[..., 1, 0, 0] = 1
    only = torch.nn.functional.cross_entropy(logits[:, :, 0, 0], label[:, 0, 0, 0].long())
    assert torch.isclose(WeightedCrossEntropy()(logits, label), only)


def test_any_loss_takes_the_middle_of_the_label() -> None:
    output, label = numbers(2, 3, 6, 6), classes(2, 1, 12, 12)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    assert torch.equal(CentreCropped(loss)(output, label), loss(output, label[..., 3:9, 3:9]))
    assert torch.equal(CentreCropped(loss)(output, label[..., 3:9, 3:9]), loss(output, label[..., 3:9, 3:9]))


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^label of \(4, 3\) pixels: smaller than the output, \(4, 4\)$"):
        CentreCropped(DiceCELoss())(numbers(1, 2, 4, 4), classes(1, 1, 4, 3))
    for shape in ((1, 3, 4, 4), (1, 4, 4)):
        with pytest.raises(ConfigError, match=r"^label of shape .* at most$"):
            WeightedCrossEntropy()(numbers(1, 2, 4, 4), classes(*shape))
