"""Losses for pixels that do not count alike, and for networks whose output is smaller than the label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.nn.modules.loss import _Loss

from medseg.errors import ConfigError


class WeightedCrossEntropy(_Loss):
    """Cross-entropy in which every pixel has its own weight: sum(weight x entropy) / sum(weight).

    The energy function of the 2015 U-Net (Ronneberger, Fischer and Brox, equation 1) as a mean, so that neither
    the size of the patch nor the scale of the weights changes the learning rate. The mean is one over the whole
    batch. The weights come with the label, as its second channel, since that is what a trainer hands to a loss;
    `ConcatItemsd(keys=[label, weight], name=label)` puts them there, as the last of the transforms.

    A label that is larger than the logits is cropped to its middle, as for a network without padding.
    """

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """One number from logits `(N, C, spatial...)`.

        Args:
            logits: of the classes, background included.
            label: `(N, 1 or 2, spatial...)`: the class, from 0, and the weight, 0 or more; 1 where there is none.

        Raises:
            ConfigError: for a label that is smaller than the logits, or of more channels.
        """
        if label.ndim != logits.ndim or label.shape[1] not in (1, 2):
            raise ConfigError(f"label of shape {tuple(label.shape)}: expected the class, and the weight at most")
        label = centre_cropped(label, logits)
        entropy = F.cross_entropy(logits, label[:, 0].long(), reduction="none")
        if label.shape[1] == 1:
            return entropy.mean()
        weight = label[:, 1].to(entropy)
        # A patch without any weight teaches nothing: its loss is 0, not 0/0.
        return (weight * entropy).sum() / weight.sum().clamp_min(torch.finfo(entropy.dtype).tiny)


class CentreCropped(_Loss):
    """Any loss, for a network without padding: the middle of the label, as large as the output, goes into it.

    Args:
        loss: of output and label, such as MONAI's `DiceCELoss`.
    """

    def __init__(self, loss: torch.nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of output `(N, C, spatial...)` and a label `(N, C or 1, spatial...)` of that size or larger.

        Raises:
            ConfigError: for a label that is smaller than the output.
        """
        loss: torch.Tensor = self.loss(output, centre_cropped(label, output))
        return loss


def centre_cropped(label: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The middle of `label`, with the spatial size of `output`; the odd pixel of a difference is cut at the end.

    Raises:
        ConfigError: for a label that is smaller than the output.
    """
    sizes = list(zip(label.shape[2:], output.shape[2:], strict=True))
    if any(large < small for large, small in sizes):
        raise ConfigError(
            f"label of {tuple(label.shape[2:])} pixels: smaller than the output, {tuple(output.shape[2:])}"
        )
    for axis, (large, small) in enumerate(sizes, start=2):
        label = label.narrow(axis, (large - small) // 2, small)
    return label
