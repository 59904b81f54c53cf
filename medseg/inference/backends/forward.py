"""What every backend gives: a network that only infers."""

from __future__ import annotations

from typing import Protocol

import torch


class Forward(Protocol):
    """A network made ready for inference: called with windows, gives their logits."""

    name: str

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits `(N, K, *window)` in fp32, bf16 or fp16 of windows `(N, C, *window)` in fp32.

        N and the window may differ from call to call. On the CPU a window's logits do not depend, not by a
        bit, on the others in its batch. What is returned is not to be changed in place outside
        `torch.inference_mode`.
        """
        ...
