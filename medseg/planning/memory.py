"""What a training step and an inference step of a bundle need, and how many images fit."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from medseg.bundle.metadata import image_format
from medseg.bundle.trained import trained
from medseg.errors import ConfigError, MedsegError, reason
from medseg.memory import free_memory, total_memory
from medseg.planning.gauges import Counted, Gauge, Measured
from medseg.planning.steps import MODES, Mode, by, precision_of

GIB = 2**30
MOST = 4096  # images in a batch; nobody trains with more
_SIZE = re.compile(r"\d+(?:[xX]\d+)+")

Size = tuple[int, ...]


@dataclass(frozen=True)
class Footprint:
    """What one kind of step needs at one size, in bytes.

    The bytes of a step are `fixed` and `per_image` times the batch: weights, gradients and optimiser states do
    not grow with it, activations do. For few small images another moment of the step may need more than this line
    says, so that `step` and `largest` are found by running the step.

    Attributes:
        mode: training or inference.
        asked: the size that was asked for.
        size: the next one up that the network takes.
        batch: the images in a step.
        weights: of the network, its buffers among them.
        optimizer: the states of the optimiser.
        step: at its peak; None if the device has too few.
        fixed: whatever the batch is; None if two images do not fit.
        per_image: what each image adds; None if two images do not fit.
        largest: the largest batch for each limit in bytes, at most `MOST`.
    """

    mode: Mode
    asked: Size
    size: Size
    batch: int
    weights: int
    optimizer: int
    step: int | None
    fixed: int | None
    per_image: int | None
    largest: dict[int, int]


@dataclass(frozen=True)
class Plan:
    """What a bundle needs.

    Attributes:
        measured: whether real steps ran on a GPU; else tensors were counted.
        precision: of the network's activations.
        limits: bytes that batches were fitted into.
        footprints: by size, then by mode.
    """

    measured: bool
    precision: torch.dtype
    limits: tuple[int, ...]
    footprints: tuple[Footprint, ...]


def plan_memory(
    bundle: Path,
    sizes: Sequence[str],
    *,
    device: torch.device,
    modes: Sequence[Mode] = MODES,
    batch: int | None = None,
    limits_gib: Sequence[float] = (),
    precision: str | None = None,
) -> Plan:
    """What steps of a bundle's network need at each of several sizes.

    Args:
        bundle: its folder.
        sizes: such as `640x959` or `96x96x64`.
        device: a GPU, to measure real steps there; the CPU, to count the bytes of tensors.
        modes: training, inference or both.
        batch: images in a step; None for the bundle's own in training.
        limits_gib: what batches are to fit into; none for what the device has free (a machine's memory).
        precision: see `medseg.device.pick_precision`; None for the bundle's own.

    Raises:
        ConfigError: for a size that is none or has not the network's dimensions, or any other wrong value.
        BundleError: if the bundle's `train.yaml` lacks a part.
    """
    dims = len(image_format(trained(str(bundle))["_meta_"])["spatial_shape"])
    asked = [parse_size(each, dims) for each in sizes]
    if batch is None:
        batch = _own_batch(bundle)
    if batch < 1:
        raise ConfigError(f"batch {batch}: give a whole number of at least 1")
    if any(not limit > 0 for limit in limits_gib):
        raise ConfigError(f"limit {min(limits_gib):g}: give a number of GiB above 0")
    number_format = precision_of(bundle, device, precision)
    limits = tuple(round(limit * GIB) for limit in limits_gib) or (_available(device),)
    found: list[Footprint] = []
    for mode in modes:
        counted = Counted(bundle, mode, number_format)
        fitting = [_next_fitting(size, counted) for size in asked]
        gauge: Gauge = counted
        if device.type == "cuda":
            gauge = Measured(bundle, mode, device, number_format)
        found += [
            _footprint(gauge, mode, before, size, batch, limits) for before, size in zip(asked, fitting, strict=True)
        ]
    order = {size: position for position, size in reversed(list(enumerate(asked)))}
    found.sort(key=lambda each: order[each.asked])  # stable: of one size, training stays before inference
    return Plan(device.type == "cuda", number_format, limits, tuple(found))


def parse_size(text: str, dims: int) -> Size:
    """The numbers of `640x959`.

    Raises:
        ConfigError: if it is no size of `dims` dimensions.
    """
    example = "640x959" if dims == 2 else "96x96x64"
    if not _SIZE.fullmatch(text):
        raise ConfigError(f"size '{text}': no size; give one such as {example}")
    size = tuple(map(int, re.split("[xX]", text)))
    if len(size) != dims:
        raise ConfigError(
            f"size '{text}': has {len(size)} dimensions, this bundle's network takes {dims}; give one such as {example}"
        )
    if min(size) < 1:
        raise ConfigError(f"size '{text}': no side can be 0; give one such as {example}")
    return size


def _available(device: torch.device) -> int:
    return free_memory(device) if device.type == "cuda" else total_memory(device)


def _own_batch(bundle: Path) -> int:
    parser = trained(str(bundle))
    id = "train::trainer::batch_size"
    return int(parser.get_parsed_content(id)) if id in parser else 1


def _next_fitting(size: Size, counted: Counted) -> Size:
    """The first of the candidates that the network takes, found by trying."""
    tried: dict[Size, str] = {}
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)  # tells of each try that fails
    for candidate in dict.fromkeys(counted.candidates(size)):
        try:
            counted.peak(1, candidate)
        except (MedsegError, RuntimeError, ValueError, AssertionError) as error:
            tried[candidate] = reason(error)
        else:
            return candidate
    size, why = next(iter(tried.items()))
    others = f", nor {' nor '.join(map(by, [*tried][1:]))}" if len(tried) > 1 else ""
    raise ConfigError(f"size {by(size)}: this network does not take it{others}: {why}")


def _footprint(gauge: Gauge, mode: Mode, asked: Size, size: Size, batch: int, limits: Sequence[int]) -> Footprint:
    fixed, per_image = _line(gauge, size)
    return Footprint(
        mode=mode,
        asked=asked,
        size=size,
        batch=batch,
        weights=gauge.weights,
        optimizer=gauge.optimizer,
        step=gauge.peak(batch, size),
        fixed=fixed,
        per_image=per_image,
        largest={limit: _largest_within(gauge, size, limit, fixed, per_image) for limit in limits},
    )


def _line(gauge: Gauge, size: Size) -> tuple[int | None, int | None]:
    """What a step needs whatever the batch is, and for each image; None if two images do not fit.

    Of few small images it is the optimiser's moment that needs the most, and that does not grow with the batch;
    so the batch is doubled until an image adds as much as before.
    """
    line: tuple[int | None, int | None] = (None, None)
    before: float | None = None
    for batch in (1, 2, 4, 8, 16, 32):
        some, twice = gauge.peak(batch, size), gauge.peak(2 * batch, size)
        if some is None or twice is None:
            break
        per_image = (twice - some) / batch
        line = (round(some - batch * per_image), round(per_image))
        if before is not None and abs(per_image - before) <= 0.01 * per_image:
            break
        before = per_image
    return line


def _largest_within(gauge: Gauge, size: Size, limit: int, fixed: int | None, per_image: int | None) -> int:
    """The largest batch in `limit` bytes: solved from the line, then tried."""
    guess = 1 if fixed is None or not per_image else (limit - fixed) // per_image
    return largest_that_fits(lambda batch: gauge.fits(batch, size, limit), guess)


def largest_that_fits(fits: Callable[[int], bool], guess: int) -> int:
    """The largest number, from 0 to `MOST`, that fits, if every smaller one does; it tries few if `guess` is near."""
    fitting, too_large = 0, MOST + 1
    probe = min(max(guess, 1), MOST)
    stride = 1
    while too_large - fitting > 1:
        if fits(probe):
            fitting = probe
            probe = fitting + stride
        else:
            too_large = probe
            probe = too_large - stride
        stride *= 2
        if not fitting < probe < too_large:
            probe = (fitting + too_large) // 2
    return fitting
