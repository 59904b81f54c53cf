"""One training step and one inference step of a bundle's network, on an image of zeros."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, get_args

import torch

from medseg.bundle.metadata import image_format
from medseg.bundle.trained import trained
from medseg.descent import Descent, heads_of, laid_out
from medseg.device import autocast, pick_precision
from medseg.errors import BundleError, ConfigError

Mode = Literal["training", "inference"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Step(Protocol):
    """A network that can be run once, forward or forward and backward, at any batch and size."""

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer | None

    def __call__(self, batch: int, size: Sequence[int]) -> None:
        """Run it on `batch` images of `size`, or raise what the network raises."""


def build_step(bundle: Path, mode: Mode, device: torch.device, precision: torch.dtype) -> Step:
    """The step of a bundle with the network, loss and optimiser of its `train.yaml`; no dataset is touched.

    Raises:
        BundleError: if its `train.yaml` lacks one of them.
    """
    parser = trained(str(bundle))
    needed = ("network_def", "optimizer", "loss") if mode == "training" else ("network_def",)
    for id in needed:
        if id not in parser:
            raise BundleError(f"{bundle / 'configs' / 'train.yaml'}: has no '{id}'; a {mode} step needs it")
    channels = image_format(parser["_meta_"])["num_channels"]
    network = _on(device, parser.network_def)
    if mode == "inference":
        return InferenceStep(network, channels, device, precision)
    clip = "train::trainer::gradient_clip"
    return TrainingStep(
        network,
        parser.optimizer,
        parser.loss,
        channels,
        device,
        precision,
        gradient_clip=parser.get_parsed_content(clip) if clip in parser else None,
    )


def precision_of(bundle: Path, device: torch.device, wanted: str | None) -> torch.dtype:
    """The number format that the bundle trains in on `device`, or the `wanted` one.

    Raises:
        ConfigError: for one that is not known.
    """
    parser = trained(str(bundle))
    own = str(parser["precision"]) if "precision" in parser else "auto"
    return pick_precision(device, wanted or own)


class TrainingStep:
    """Forward, backward and optimiser, with the number formats of `medseg.training.Trainer`."""

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: torch.nn.modules.loss._Loss,
        channels: int,
        device: torch.device,
        precision: torch.dtype,
        *,
        gradient_clip: float | None = None,
    ) -> None:
        self.network = network
        self.optimizer: torch.optim.Optimizer | None = optimizer
        self._descent = Descent(optimizer, loss, device=device, precision=precision, gradient_clip=gradient_clip)
        self._channels = channels
        self._device = device
        self._precision = precision

    def __call__(self, batch: int, size: Sequence[int]) -> None:
        """Run it once; the optimiser has its states from the first time on."""
        image = torch.zeros(batch, self._channels, *size, device=self._device)
        label = torch.zeros(batch, 1, *size, device=self._device)
        self.network.train()
        self.network.zero_grad()
        with autocast(self._device, self._precision):
            output = self.network(image)
        check_size(heads_of(output, label.ndim)[0], label, self.network)
        self._descent.step(self._descent.loss(output, label))


class InferenceStep:
    """A forward pass as prediction makes it for a batch of windows."""

    optimizer: torch.optim.Optimizer | None = None

    def __init__(self, network: torch.nn.Module, channels: int, device: torch.device, precision: torch.dtype) -> None:
        self.network = network.eval()
        self._channels = channels
        self._device = device
        self._precision = precision

    def __call__(self, batch: int, size: Sequence[int]) -> None:
        """Run it once."""
        image = torch.zeros(batch, self._channels, *size, device=self._device)
        with torch.no_grad(), autocast(self._device, self._precision):
            output = self.network(image)
        check_size(heads_of(output, image.ndim)[0], image, self.network)


def check_size(output: torch.Tensor, image: torch.Tensor, network: torch.nn.Module) -> None:
    """That the network gives as many pixels as it got, or all but the margin that it says it loses on every side.

    Raises:
        ConfigError: if it gives others.
    """
    lost = 2 * int(getattr(network, "margin", 0))
    if output.shape[2:] != torch.Size(side - lost for side in image.shape[2:]):
        raise ConfigError(f"image of {by(image.shape[2:])}: the network gives {by(output.shape[2:])} for it")


def by(size: Sequence[int]) -> str:
    """A size as a person writes it."""
    return " x ".join(map(str, size))


def _on(device: torch.device, network: torch.nn.Module) -> torch.nn.Module:
    """The network where it runs, laid out as the trainer does it: cuDNN takes other workspaces for that.

    Where tensors are counted only, they are as many bytes either way, and parameters without memory cannot be moved.
    """
    return network if device.type == "cpu" else laid_out(network.to(device))
