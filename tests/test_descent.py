"""One step down the gradient."""

from __future__ import annotations

import torch
from torch.nn.modules.loss import _Loss

from medseg.descent import Descent


class Weighted(_Loss):
    """A loss with a weight for each class, as `DiceCELoss(weight=...)` has them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor([1.0, 2.0]))

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return torch.mean(logits * self.weight[None, :, None, None])


def test_a_function_may_be_the_loss() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    given = {"device": torch.device("cpu"), "precision": torch.float32, "gradient_clip": None}
    descent = Descent(optimizer, lambda logits, label: logits.mean() + label.mean(), **given)  # type: ignore[arg-type]
    assert descent.loss(torch.ones(1, 2, 4, 4), torch.ones(1, 1, 4, 4)) == 2


def test_weights_of_classes_are_moved_to_the_networks_device() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    device = torch.device("meta")
    descent = Descent(optimizer, Weighted(), device=device, precision=torch.float32, gradient_clip=None)
    logits, label = torch.zeros(1, 2, 4, 4, device=device), torch.zeros(1, 1, 4, 4, device=device)
    assert descent.loss(logits, label).device == device
