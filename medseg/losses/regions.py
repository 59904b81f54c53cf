"""Loss over regions of several classes, such as the whole liver, as well as over the classes themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceLoss
from torch.nn.functional import cross_entropy
from torch.nn.modules.loss import _Loss

from medseg.errors import ConfigError


class RegionDiceCELoss(_Loss):
    """Dice over regions plus cross-entropy over classes, from logits `(N, C, ...)` and label `(N, 1, ...)`.

    What is scored is what is optimised: challenges of nested structures score the whole organ and the lesion in
    it, not the organ without its lesion (Isensee et al. 2019, "nnU-Net for brain tumor segmentation", section
    2.2). There every region has a sigmoid of its own; here a region's probability is the sum of its classes'
    softmax, so that nested regions cannot contradict each other and every bundle decodes alike.

    Args:
        regions: the class values of each region, such as `[[1, 2], [2]]`.

    Raises:
        ConfigError: for a region without classes, or classes in place of a region.
    """

    def __init__(self, regions: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if not regions or not all(isinstance(each, Sequence) and each for each in regions):
            raise ConfigError(f"regions {regions}: expected lists of class values, such as [[1, 2], [2]]")
        self._regions = [list(each) for each in regions]
        self._dice = DiceLoss(batch=True)

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar."""
        probabilities = logits.softmax(dim=1)
        found = torch.stack([probabilities[:, each].sum(dim=1) for each in self._regions], dim=1)
        truth = label[:, 0].long()
        true = torch.stack([torch.isin(truth, truth.new_tensor(each)) for each in self._regions], dim=1)
        loss: torch.Tensor = self._dice(found, true.to(found.dtype)) + cross_entropy(logits, truth)
        return loss
