"""Two ways to find what a step needs: counted without a GPU, measured on one."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from medseg.networks.live_tensors import LiveTensors, nothing_computed
from medseg.planning.steps import Mode, Step, build_step

_TOO_LARGE = ("unable to find", "alloc_failed", "cudnn_status", "32bitindexmath", "invalid configuration argument")
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128)


class Gauge(Protocol):
    """Tells what one kind of step needs.

    Attributes:
        weights: bytes of the network's weights and buffers.
        optimizer: bytes of the optimiser's states; known after the first step.
    """

    weights: int
    optimizer: int

    def peak(self, batch: int, size: Sequence[int]) -> int | None:
        """The most bytes alive at a time in a step; None if the device has too few for it."""

    def fits(self, batch: int, size: Sequence[int], limit: int) -> bool:
        """Whether a step runs in `limit` bytes."""


class Counted:
    """Counts the bytes of tensors alive, for any size on any machine: nothing is computed.

    That is exact for tensors, and the same for every device. What it leaves out is what a device takes besides:
    a GPU's context, the workspaces of cuDNN, and what its allocator cannot use because it lies in pieces.
    """

    def __init__(self, bundle: Path, mode: Mode, precision: torch.dtype) -> None:
        self._alive = LiveTensors()
        self._mode = nothing_computed()
        self._peaks: dict[tuple[int, ...], int] = {}
        with self._counting():
            self._step = build_step(bundle, mode, torch.device("cpu"), precision)
        self.weights = weights_of(self._step)
        self.optimizer = 0

    @contextmanager
    def _counting(self) -> Iterator[None]:
        with self._mode, self._alive:
            yield

    def peak(self, batch: int, size: Sequence[int]) -> int:
        """The most bytes of tensors alive at a time in a step."""
        key = (batch, *size)
        if key not in self._peaks:
            with self._counting():
                if self._step.optimizer is not None and not self._step.optimizer.state:
                    self._step(batch, size)  # makes the optimiser's states
                    self.optimizer = optimizer_of(self._step)
                self._alive.start_over()
                self._step(batch, size)
            self._peaks[key] = self._alive.peak
        return self._peaks[key]

    def candidates(self, size: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Sizes from this one up that the network may take.

        One without padding says itself what it takes; of others the poolings, the windows and the smallest image are
        not said anywhere, but powers of 2 divide what they take.
        """
        network: Any = self._step.network
        if hasattr(network, "input_size") and hasattr(network, "margin"):
            yield tuple(network.input_size(side - 2 * network.margin) for side in size)
            return
        for multiple in _MULTIPLES:
            yield tuple(-(-side // multiple) * multiple for side in size)

    def fits(self, batch: int, size: Sequence[int], limit: int) -> bool:
        """Whether the tensors of a step are no more than `limit` bytes."""
        return self.peak(batch, size) <= limit


class Measured:
    """Runs real steps on a GPU and asks its allocator."""

    def __init__(self, bundle: Path, mode: Mode, device: torch.device, precision: torch.dtype) -> None:
        self._device = device
        self._step = build_step(bundle, mode, device, precision)
        self.weights = weights_of(self._step)
        self.optimizer = 0
        self._peaks: dict[tuple[int, ...], int | None] = {}

    def peak(self, batch: int, size: Sequence[int]) -> int | None:
        """The most bytes that tensors and workspaces took at a time in a step; None if there are too few."""
        key = (batch, *size)
        if key not in self._peaks:
            self._peaks[key] = torch.cuda.max_memory_allocated(self._device) if self._runs(batch, size) else None
        return self._peaks[key]

    def fits(self, batch: int, size: Sequence[int], limit: int) -> bool:
        """Whether a step runs where the allocator may take no more than `limit` bytes from the device."""
        total = torch.cuda.get_device_properties(self._device).total_memory
        self._tidy()  # what is kept in the cache counts against the limit
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), self._device)
        try:
            return self._runs(batch, size)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, self._device)

    def _runs(self, batch: int, size: Sequence[int]) -> bool:
        self._tidy()
        try:
            self._step(batch, size)  # makes the optimiser's states, lets cuDNN choose
            self.optimizer = optimizer_of(self._step)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._step(batch, size)
            torch.cuda.synchronize(self._device)
        except RuntimeError as error:
            if not _is_for_want_of_memory(error):
                raise
            return False
        return True

    def _tidy(self) -> None:
        self._step.network.zero_grad()
        gc.collect()
        torch.cuda.empty_cache()


def _is_for_want_of_memory(error: RuntimeError) -> bool:
    """Whether a batch is too large: cuDNN and cuBLAS name it otherwise, and kernels count in 32 bits."""
    said = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(each in said for each in _TOO_LARGE)


def weights_of(step: Step) -> int:
    """Bytes of a network's weights and buffers."""
    return sum(each.nbytes for each in (*step.network.parameters(), *step.network.buffers()))


def optimizer_of(step: Step) -> int:
    """Bytes of an optimiser's states."""
    if step.optimizer is None:
        return 0
    states = (value for state in step.optimizer.state.values() for value in state.values())
    return sum(each.nbytes for each in states if isinstance(each, torch.Tensor))
