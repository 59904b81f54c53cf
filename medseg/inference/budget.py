"""How much memory segmenting may take, told before it begins."""

from __future__ import annotations

import math

import torch

from medseg.device import free_memory, used_memory
from medseg.errors import ConfigError, MedsegError

_GB = 1e9
_FREE = 0.8  # of what is free, where the user names no limit: others want to live too
_ROOM = 1.25  # convolutions take up to so many times the tensors that a forecast counts (docs/benchmarks.md)


class Budget:
    """The bytes that a case may take on the device of the network.

    Args:
        device: of the network.
        ram: GB that the process may hold in main memory; None for most of what is free.
        vram: the same on a GPU.

    Raises:
        ConfigError: for a limit that is no positive number.
    """

    def __init__(self, device: torch.device, ram: float | None, vram: float | None) -> None:
        for name, value in {"ram": ram, "vram": vram}.items():
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise ConfigError(f"{name} {value}: give a number of GB above 0")
        self._device = device
        self._name, self._limit = ("vram", vram) if device.type == "cuda" else ("ram", ram)

    def for_windows(self, image: torch.Tensor, source_voxels: int) -> float:
        """What is left for windows and their logits, once the image and the label map have their place.

        Args:
            image: `(C, spatial...)` as the network sees it, in memory already.
            source_voxels: of the scan; its label map takes a byte each.

        Raises:
            MedsegError: if nothing is left.
        """
        held = used_memory(self._device)
        limit = held + _FREE * free_memory(self._device) if self._limit is None else self._limit * _GB
        needed = held + 4 * math.prod(image.shape) + (source_voxels if self._device.type == "cpu" else 0)
        if needed >= limit:
            raise MedsegError(
                f"{self._name} {limit / _GB:.1f} GB: the scan of {source_voxels} voxels takes {needed / _GB:.1f} GB "
                f"before the network begins; allow more with --{self._name}"
            )
        return (limit - needed) / _ROOM
