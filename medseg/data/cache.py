"""Preprocessed cases kept in memory, as many as it holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from monai.data import CacheDataset

from medseg.memory import free_memory, machine_memory

_log = logging.getLogger(__name__)
_LEFT_FREE = 0.25  # of the machine's memory: for the training, and for others
_SILENT_S = 20


class MemoryDataset(CacheDataset):
    """MONAI's `CacheDataset` that stops where memory runs short: later cases are prepared anew each time.

    `CacheDataset` itself keeps what it is told to, and a large dataset ends in a killed process. How far it has come
    is told every 20 s.

    Args:
        data: entries, each a case.
        transform: MONAI's `Compose`; what precedes its first random transform is done once.
    """

    def __init__(self, data: Sequence[Any], transform: Sequence[Callable[..., Any]] | Callable[..., Any]) -> None:
        super().__init__(data, transform, num_workers=None, progress=False)

    def _fill_cache(self, indices: Iterable[int] | None = None) -> list[Any]:
        count, told = self.cache_num, time.monotonic()
        kept: list[Any] = []
        for index in range(count) if indices is None else indices:
            if kept and free_memory(torch.device("cpu")) < _LEFT_FREE * machine_memory():
                _log.warning(
                    f"memory holds {len(kept)} of {count} preprocessed cases; the others are prepared anew in every "
                    "epoch, which is slower"
                )
                break
            kept.append(self._load_cache_item(index))
            if time.monotonic() - told > _SILENT_S:
                told = time.monotonic()
                _log.info(f"{len(kept)} of {count} cases are preprocessed")
        self.cache_num = len(kept)
        return kept
