"""Dice over regions and cross-entropy over classes, by their formulas."""

from __future__ import annotations

import pytest
import torch

from medseg.errors import ConfigError
from medseg.losses import RegionDiceCELoss

NESTED = [[1, 2], [2]]


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def classes(*shape: int) -> torch.Tensor:
    return torch.randint(3, shape, generator=torch.Generator().manual_seed(1)).float()


def one_hot(label: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(label[:, 0].long(), 3).movedim(-1, 1).double()


def by_formula(logits: torch.Tensor, label: torch.Tensor, regions: list[list[int]]) -> float:
    """1 - 2 |A B| / (|A| + |B|) of the whole batch, the mean over regions, plus the mean of -log p."""
    probability, true = logits.softmax(dim=1), one_hot(label)
    dice = 0.0
    for region in regions:
        p, t = (sum(each[:, value] for value in region).flatten() for each in (probability, true))
        dice += float(1 - 2 * (p * t).sum() / (p.sum() + t.sum())) / len(regions)
    return dice - float((probability * true).sum(dim=1).log().mean())


@pytest.mark.parametrize("size", [(4, 5), (2, 3, 4)])
@pytest.mark.parametrize("regions", [NESTED, [[1], [2]], [[0], [1, 2], [2]]])
def test_by_formula(size: tuple[int, ...], regions: list[list[int]]) -> None:
    logits, label = numbers(2, 3, *size), classes(2, 1, *size)
    assert float(RegionDiceCELoss(regions)(logits, label)) == pytest.approx(
        by_formula(logits, label, regions), rel=1e-5
    )


def test_perfect_prediction_costs_next_to_nothing_and_any_mistake_more() -> None:
    label = classes(2, 1, 6, 6)
    loss = RegionDiceCELoss(NESTED)
    perfect = float(loss(20 * one_hot(label), label))
    assert perfect < 1e-4
    mistaken = one_hot(label)
    mistaken[0, :, 0, 0] = mistaken[0, :, 0, 0].roll(1)
    assert perfect < float(loss(20 * mistaken, label)) < float(loss(20 * one_hot((label + 1) % 3), label))


def test_lesion_taken_for_healthy_organ_costs_less_than_one_taken_for_background() -> None:
    """The organ as a whole is a region: it was found all the same. Cross-entropy sees no difference."""
    label = classes(1, 1, 8, 8)
    as_organ, as_background = (torch.where(label == 2, other, label) for other in (1.0, 0.0))
    cost = [float(RegionDiceCELoss(NESTED)(5 * one_hot(each), label)) for each in (as_organ, as_background)]
    assert cost[0] < cost[1] - 0.05


def test_every_logit_of_every_pixel_counts_the_background_too() -> None:
    logits, label = numbers(2, 3, 4, 5).requires_grad_(), classes(2, 1, 4, 5)
    RegionDiceCELoss([[2]])(logits, label).backward()
    assert logits.grad is not None and (logits.grad != 0).all()


def test_descending_the_gradient_finds_the_label() -> None:
    label = classes(1, 1, 4, 4)
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=10.0)
    for _ in range(30):
        optimizer.zero_grad()
        RegionDiceCELoss(NESTED)(logits, label).backward()
        optimizer.step()
    assert torch.equal(logits.argmax(dim=1, keepdim=True).float(), label)


def test_region_in_no_image_of_the_batch_is_no_nan() -> None:
    loss = RegionDiceCELoss(NESTED)(numbers(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
    assert loss.isfinite()


@pytest.mark.parametrize("regions", [[], [[1, 2], []], [1, 2]])
def test_regions_without_classes_are_refused(regions: list[list[int]]) -> None:
    with pytest.raises(
        ConfigError, match=r"^regions \[.*: expected lists of class values, such as \[\[1, 2\], \[2\]\]$"
    ):
        RegionDiceCELoss(regions)
