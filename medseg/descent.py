"""One step down the gradient, for those who train and for those who ask what that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.losses import DeepSupervisionLoss

Loss = torch.nn.modules.loss._Loss


class Descent:
    """The loss of a network's output, and what is done with it to the weights.

    Args:
        optimizer: of the network's parameters.
        loss: of logits `(N, C, spatial...)` and label `(N, 1, spatial...)`; under deep supervision applied to every
            head, weights halving.
        device: of the network; the loss, which may hold weights of classes, is moved there.
        precision: of its activations; gradients are scaled where it is float16.
        gradient_clip: largest norm of all gradients together; None for no limit.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        *,
        device: torch.device,
        precision: torch.dtype,
        gradient_clip: float | None,
    ) -> None:
        self._optimizer = optimizer
        self._loss = loss.to(device) if isinstance(loss, torch.nn.Module) else loss
        self._heads_loss = DeepSupervisionLoss(self._loss)
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
        self._gradient_clip = gradient_clip

    def loss(self, output: Any, label: torch.Tensor) -> torch.Tensor:
        """One number, in float32, from what a network gave (see `heads_of`)."""
        heads = [head.float() for head in heads_of(output, label.ndim)]
        is_one = isinstance(output, torch.Tensor) and output.ndim == label.ndim
        loss: torch.Tensor = self._loss(heads[0], label) if is_one else self._heads_loss(heads, label)
        return loss

    def step(self, loss: torch.Tensor) -> None:
        """Gradients of the loss, clipped, and the optimiser's step."""
        self._scaler.scale(loss).backward()
        if self._gradient_clip is not None:
            self._scaler.unscale_(self._optimizer)
            weights = [each for group in self._optimizer.param_groups for each in group["params"]]
            torch.nn.utils.clip_grad_norm_(weights, self._gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()


def heads_of(output: Any, dims: int) -> Sequence[torch.Tensor]:
    """A network's outputs of `dims` axes, the finest first; several, listed or stacked, under deep supervision."""
    if not isinstance(output, torch.Tensor):
        heads: Sequence[torch.Tensor] = output
        return heads
    return [output] if output.ndim == dims else torch.unbind(output, dim=1)


def laid_out(network: torch.nn.Module) -> torch.nn.Module:
    """A network with its weights as they are fastest: of pictures with the channels last (1.2 times on a CPU here)."""
    weights = [each for each in network.parameters() if each.ndim >= 4]
    if weights and all(each.ndim == 4 for each in weights):
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
    return network
