"""Several trainings of one network, such as its folds, as one network."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from medseg.bundle.weights import load_weights
from medseg.inference.network_wrapper import NetworkWrapper


class Ensemble(NetworkWrapper):
    """The mean of the probabilities (softmax) of several networks on one grid, window by window.

    Args:
        network: the architecture of the members of which none is given; not changed.
        checkpoints: the weights of each member.
        architectures: of each member, or None for `network`'s; without, all are `network`'s.

    Raises:
        BundleError: if weights are missing or do not fit.
    """

    def __init__(
        self,
        network: nn.Module,
        checkpoints: Sequence[str],
        architectures: Sequence[nn.Module | None] | None = None,
    ) -> None:
        own = architectures or [None] * len(checkpoints)
        members = nn.ModuleList(copy.deepcopy(network) if each is None else each for each in own)
        super().__init__(members[0])
        self.members = members
        for member, checkpoint in zip(self.members, checkpoints, strict=True):
            load_weights(member, checkpoint)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logarithms of the mean probabilities `(N, C, spatial...)`, whose softmax they are themselves."""
        return log_mean_probabilities(member(image) for member in self.members)


def log_mean_probabilities(logits: Iterable[torch.Tensor]) -> torch.Tensor:
    """Logarithms of the mean of the probabilities (softmax) of each `(N, C, spatial...)`; one is held at a time."""
    total: torch.Tensor | float = 0.0
    count = 0
    for each in logits:
        total = each.float().softmax(dim=1) + total
        count += 1
    mean = torch.as_tensor(total) / count
    return mean.clamp_min(torch.finfo(torch.float32).tiny).log()
