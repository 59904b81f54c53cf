"""The backend that takes every network: torch itself."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from medseg.device import autocast
from medseg.inference.backends.lightened import layout, lightened
from medseg.inference.backends.onednn import Onednn


class TorchForward:
    """A `Forward` by torch: batch norms folded, autocast to `precision`, laid out for oneDNN on the CPU.

    On the CPU windows go through one by one: large ones are faster so, and what a window gives cannot depend on
    its batch.

    Args:
        network: in eval mode; not changed.
        device: to compute on.
        precision: `torch.float32`, or what autocast casts to.
    """

    name = "torch"

    def __init__(self, network: torch.nn.Module, device: torch.device, precision: torch.dtype) -> None:
        self._network = lightened(network, device, precision)
        self._layout = layout(network, device, precision)
        self._device = device
        self._precision = precision

    @torch.inference_mode()
    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits `(N, K, *window)` of windows `(N, C, *window)`."""
        on_cpu = self._device.type == "cpu"
        with autocast(self._device, self._precision), Onednn() if on_cpu else nullcontext():
            if not on_cpu:
                return self._network(batch.to(self._device))  # type: ignore[no-any-return]
            each = [self._network(window.contiguous(memory_format=self._layout)) for window in batch.cpu().split(1)]
        return each[0] if len(each) == 1 else torch.cat(each)
