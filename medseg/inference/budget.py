"""How much memory segmenting may take, told before it begins."""

from __future__ import annotations

import logging
import math

import torch

from medseg.errors import ConfigError, MedsegError
from medseg.memory import free_memory, used_memory

_log = logging.getLogger(__name__)
_GB = 1e9
_CPU = torch.device("cpu")
_FREE = 0.8  # of what is free, where the user names no limit: others want to live too
_MORE = 1.1  # times what was told before is worth telling again
_COUNTING = 5  # bytes a voxel of the scan that counting its components takes, once the windows are gone
_READING = 6  # bytes a voxel that reading a scan takes: as it is stored, and as float32
_RESAMPLING = 24  # bytes a voxel that MONAI's resampling takes: its place, and what lies there before and after
_ROOM = 1.25  # convolutions take up to so many times the tensors that a forecast counts (docs/benchmarks.md)


class Budget:
    """The bytes that a case may take on the device of the network.

    Args:
        device: of the network.
        ram: GB that the process may hold in main memory; None for most of what is free.
        vram: the same on a GPU.

    Raises:
        ConfigError: for a limit that is no positive number, or less than the process holds already.
    """

    def __init__(self, device: torch.device, ram: float | None, vram: float | None) -> None:
        for name, value in {"ram": ram, "vram": vram}.items():
            if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise ConfigError(f"{name} {value}: give a number of GB above 0")
        held = used_memory(_CPU)
        if ram is not None and ram * _GB <= held:
            raise ConfigError(f"ram {ram}: this process holds {held / _GB:.1f} GB before any scan; give more GB")
        self._device = device
        self._ram = ram
        self._name, self._given = ("vram", vram) if device.type == "cuda" else ("ram", ram)
        self._beside = 0.0
        self._told = 0.0

    def has_room_for(self, reading: float) -> bool:
        """Whether another scan may be read beside the network: where half of what is left is enough for it.

        Args:
            reading: bytes of main memory that it takes; windows get none of them as long as the answer is yes.
        """
        left = _limit(_CPU, self._ram) - used_memory(_CPU)
        self._beside = reading if reading < left / 2 else 0.0
        return self._beside > 0

    def check_reading(self, voxels: float, path: object) -> None:
        """Whether there is room to read a scan of so many voxels.

        Raises:
            MedsegError: if not.
        """
        needed, limit = used_memory(_CPU) + _READING * voxels, _limit(_CPU, self._ram)
        if needed > limit:
            raise MedsegError(
                f"{path}: has {voxels:.2g} voxels; to read them would take {needed / _GB:.2f} GB of "
                f"{limit / _GB:.2f} GB (ram); allow more with --ram"
            )

    def check_resampling(self, voxels: float, path: object) -> None:
        """Whether there is room for a scan of so many voxels to be brought to the bundle's spacing.

        Raises:
            MedsegError: if not: its file may give a wrong spacing.
        """
        needed, limit = used_memory(_CPU) + _RESAMPLING * voxels, _limit(_CPU, self._ram)
        if needed > limit:
            raise MedsegError(
                f"{path}: has {voxels:.2g} voxels at the bundle's spacing, for which {needed / _GB:.2f} GB of "
                f"{limit / _GB:.2f} GB (ram) would be taken; is its spacing right? allow more with --ram"
            )

    def for_windows(self, image: torch.Tensor, source_voxels: int) -> float:
        """What is left for windows and their logits, once the image and the label map have their place.

        Args:
            image: `(C, spatial...)` as the network sees it, in memory already.
            source_voxels: of the scan; its label map takes a byte each.

        Raises:
            MedsegError: if nothing is left.
        """
        limit = _limit(self._device, self._given)
        needed: float = used_memory(self._device) + 4 * math.prod(image.shape)
        if self._device.type == "cpu":
            needed += source_voxels + self._beside
        if needed >= limit:
            raise MedsegError(
                f"{self._name} {limit / _GB:.2f} GB: the scan of {source_voxels} voxels takes {needed / _GB:.2f} GB "
                f"before the network begins; allow more with --{self._name}"
            )
        return (limit - needed) / _ROOM

    def tell(self, needed: float | None, source_voxels: int) -> None:
        """Log what is forecast to be held at most, if it is more than was told before.

        Args:
            needed: by windows and their logits; None where that is not known.
            source_voxels: of the scan.
        """
        if needed is None:
            return
        more = _ROOM * needed
        if self._device.type == "cpu":
            more = source_voxels + max(more, _COUNTING * source_voxels) + self._beside
        peak = used_memory(self._device) + more
        limit = _limit(self._device, self._given)
        if peak > limit and self._given is not None:
            raise MedsegError(
                f"{self._name} {self._given}: about {peak / _GB:.2f} GB would be taken, with windows as small as "
                f"may be; allow more with --{self._name}"
            )
        if peak > _MORE * self._told:
            self._told = peak
            _log.info(
                f"memory: about {peak / _GB:.1f} GB at most, of {limit / _GB:.1f} GB ({self._name}) that may be taken"
            )


def _limit(device: torch.device, given: float | None) -> float:
    """The bytes that this process may hold on a device."""
    return used_memory(device) + _FREE * free_memory(device) if given is None else given * _GB
