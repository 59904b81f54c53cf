"""Which backend computes a network: the one that was asked for, or the one that pays."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Protocol

import torch
from torch import nn

from medseg.errors import ConfigError
from medseg.inference.backends import with_openvino
from medseg.inference.backends.forward import Forward
from medseg.inference.backends.sample_images import output_of, small_image
from medseg.inference.backends.with_openvino import OpenvinoForward, UnconvertibleError
from medseg.inference.backends.with_torch import TorchForward
from medseg.inference.ensemble import Ensemble, log_mean_probabilities

_log = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "openvino")

# Operations of all windows, per thread, from which OpenVINO's conversion pays for itself: docs/benchmarks.md.
_CONVERSION_PAYS_FROM = 1e12

# Bytes of the logits of a window from which OpenVINO, which holds them three times in fp32, takes too much memory.
_MOST_LOGITS = 1.5e8


class Backends(Protocol):
    """A network made ready for inference, for each image by the backend that suits it."""

    def forward_for(self, window: Sequence[int], channels: int, windows: int | None = None) -> Forward:
        """What computes an image's windows; the same image has the same whatever came before it.

        Args:
            window: voxels a side, `(H, W)` or `(D, H, W)`; others may come too.
            channels: of the windows.
            windows: how many are to come that are like the image's, of all images together. None if that is not
                known: `auto` takes torch then.
        """


def prepare(network: nn.Module, *, backend: str, device: torch.device, precision: torch.dtype) -> Backends:
    """`network`, made ready to infer fast.

    `auto` takes OpenVINO on a CPU where it is installed, was measured to be faster for such a network, has enough to
    do to make up for its conversion, which takes a second, and not so many classes that their logits fill the memory
    (it holds them three times in fp32); else torch. No clock decides: the same
    network, window and number of windows give the same backend on a machine. What OpenVINO cannot convert, torch
    computes, and a warning says why. Of an ensemble each member is prepared. In fp32 torch differs from the network as
    it comes by 2e-6 of the largest logit; OpenVINO by up to 1e-3 in windows of 128 voxels a side with instance norms.

    Args:
        network: in eval mode, on `device`; not changed.
        backend: one of `BACKENDS`.
        device: to compute on.
        precision: from `medseg.device.pick_precision`.

    Raises:
        ConfigError: for a backend that is not known, is not installed, or does not compute on `device`.
    """
    _check(backend, device)
    if isinstance(network, Ensemble):
        return _OfEnsemble([_OfNetwork(each, backend, device, precision) for each in network.members])
    return _OfNetwork(network, backend, device, precision)


class _OfNetwork:
    """One network, by each backend that was asked for so far."""

    def __init__(self, network: nn.Module, backend: str, device: torch.device, precision: torch.dtype) -> None:
        self._network, self._device, self._precision = network, device, precision
        self._backend = backend
        suits = device.type == "cpu" and with_openvino.installed() and _faster_by_openvino(network, precision)
        if backend == "auto" and not suits:
            self._backend = "torch"
        self._made: dict[str, Forward] = {}
        self._work = cache(partial(_work_worth_a_conversion, network))

    def forward_for(self, window: Sequence[int], channels: int, windows: int | None = None) -> Forward:
        name = self._backend
        if name == "auto":
            work = windows * self._work(tuple(window), channels) if windows else 0
            name = "openvino" if work > _CONVERSION_PAYS_FROM * torch.get_num_threads() else "torch"
        if name not in self._made:
            self._made[name] = self._make(name, window, channels)
        return self._made[name]

    def _make(self, name: str, window: Sequence[int], channels: int) -> Forward:
        if name == "openvino":
            try:
                return OpenvinoForward(self._network, self._precision, window, channels)
            except UnconvertibleError as error:
                _log.warning(f"openvino cannot convert this network, torch computes it: {error}")
        return TorchForward(self._network, self._device, self._precision)


class _OfEnsemble:
    """The members of an `Ensemble`, each by its own backend."""

    def __init__(self, members: Sequence[_OfNetwork]) -> None:
        self._members = members

    def forward_for(self, window: Sequence[int], channels: int, windows: int | None = None) -> Forward:
        return _EnsembleForward([member.forward_for(window, channels, windows) for member in self._members])


class _EnsembleForward:
    """The members of an `Ensemble`, one after the other, and the mean of their probabilities in fp32."""

    def __init__(self, members: Sequence[Forward]) -> None:
        self._members = members
        self.name = members[0].name

    @torch.inference_mode()
    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return log_mean_probabilities(member(batch) for member in self._members)


def _check(backend: str, device: torch.device) -> None:
    if backend not in BACKENDS:
        raise ConfigError(f"backend '{backend}' is not known: use {', '.join(BACKENDS)}")
    if backend == "openvino" and device.type != "cpu":
        raise ConfigError(f"backend 'openvino' computes on the CPU, not on {device}: use torch, or --device cpu")
    if backend == "openvino" and not with_openvino.installed():
        raise ConfigError("backend 'openvino' is not installed: pip install 'medseg[openvino]', or use torch")


def _faster_by_openvino(network: nn.Module, precision: torch.dtype) -> bool:
    """As measured (docs/benchmarks.md): all in fp32; in bf16 not 3D networks without instance normalisation."""
    kinds = {type(module) for module in network.modules()}
    return precision is torch.float32 or nn.Conv3d not in kinds or nn.InstanceNorm3d in kinds


def _work_worth_a_conversion(network: nn.Module, window: Sequence[int], channels: int) -> float:
    """Operations of a window's convolutions, counted on a small image; 0 where OpenVINO would take too much memory."""
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.no_grad():
            image = small_image(network, window, channels)
            with FlopCounterMode(display=False) as counter:
                logits = output_of(network, image)
    except ValueError:
        return 0
    if not isinstance(logits, torch.Tensor) or 4 * logits.shape[1] * math.prod(window) > _MOST_LOGITS:
        return 0
    return float(counter.get_total_flops()) * math.prod(window) / math.prod(image.shape[2:])
