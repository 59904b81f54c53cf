"""Whole volumes through a network, window by window: MONAI's sliding window, with results in finished pieces."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from monai.utils import ensure_tuple_rep, fall_back_tuple
from torch import nn

from medseg.errors import ConfigError
from medseg.inference.backends.onednn import Onednn
from medseg.inference.windows.boxes import Box, all_channels, box_at, seen_from, within
from medseg.inference.windows.forecast import Forecast
from medseg.inference.windows.grid import WindowGrid, padded
from medseg.inference.windows.pieces import Piece, as_given, joined
from medseg.inference.windows.tiles import Tiling
from medseg.memory import free_memory

_log = logging.getLogger(__name__)
_WINDOWS = ("trained", "auto", "largest")
_OVER_A_WINDOW = (
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.modules.pooling._AdaptiveAvgPoolNd,  # squeeze and excitation
    nn.modules.pooling._AdaptiveMaxPoolNd,
)
_SHARE = 0.5  # of the free memory that windows may take: convolutions need room of their own, and so do others
_SURE = 20.0  # the logit of a background that nobody doubts, beside zeros; its probability is 1 to 8 digits


class SlidingWindow(SlidingWindowInferer):
    """MONAI's `SlidingWindowInferer` with another engine; takes its arguments and gives its result, without gradients.

    What differs: windows are run and blended row by row along the first axis, so that `pieces` can hand out
    finished planes while later ones are still unknown, and what is held of all classes is one row of windows; the
    sum of the weights is computed once per depth into a row instead of added up window by window; sums are float32
    whatever the network computes in; windows are copies, so that a network that works in place leaves the image as
    it was.

    Args:
        roi_size: of a window, in voxels per axis; 0 or less along an axis for all of the image.
        sw_batch_size: windows that go through the network at once; fewer where the memory is short.
        overlap: of neighbouring windows, from 0 to below 1; one for all axes, or one each.
        mode: `constant` or `gaussian`, as MONAI has them.
        window: `trained` runs windows of `roi_size`. `largest` runs the largest that the memory allows, at best the
            whole image at once, and takes every voxel from the window in which it lies furthest inside; what is
            repeated is then little instead of most of the work. The network must be fully convolutional. `auto` is
            `largest`, but `trained` for a network with instance or group normalisation: it sees other statistics in
            larger windows, so check on labelled cases that nothing is lost before you choose `largest` for it.
        memory: bytes that windows may take; None for half of what is free when an image comes. Where the sums of all
            classes over a row of windows would take more, windows are not blended either: each voxel is then taken
            from the window in which it lies furthest inside, and a warning says so.
        skip_below: a window of which no voxel (as the network sees it, first channel) lies above this holds nothing
            and is not run. Where windows overlap those that were run decide; where none was, is background. None to
            run them all.
        **stock: any other argument of MONAI's inferer, by its name; what tells it how to buffer has no effect here.

    Attributes:
        memory: bytes that windows may take besides, to be set before an image; None where nobody knows.
        needed: bytes that the windows of the image last begun are forecast to take; None where that cannot be told.

    A call with a network that gives several tensors, or one of another size than the windows, is MONAI's.

    Raises:
        ConfigError: for an overlap that is none; from a call, for a window of other axes than the image's; from
            `pieces`, for such a network.
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        sw_batch_size: int = 4,
        overlap: Sequence[float] | float = 0.25,
        mode: str = "constant",
        *,
        window: str = "trained",
        memory: float | None = None,
        skip_below: float | None = None,
        **stock: Any,
    ) -> None:
        overlaps = overlap if isinstance(overlap, Sequence) else [overlap]
        if not all(isinstance(each, float | int) and 0 <= each < 1 for each in overlaps):
            raise ConfigError(f"overlap {overlap}: expected 0 or more and less than 1")
        if window not in _WINDOWS:
            raise ConfigError(f"window '{window}': expected one of {', '.join(_WINDOWS)}")
        super().__init__(roi_size, sw_batch_size, overlap, mode, **stock)
        self._window = window
        self._most = memory
        self.memory: float | None = None
        self.needed: float | None = None
        self._known: tuple[nn.Module, Forecast] | None = None
        self._told: set[str] = set()
        self._skip_below = skip_below

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """What the network says of every voxel: `(N, C, spatial...)` to `(N, classes, spatial...)`, float32."""
        if args or kwargs or self.with_coord:  # such a network wants to be told more than its windows
            return super().__call__(inputs, network, *args, **kwargs)  # type: ignore[return-value]
        cases = inputs.as_subclass(torch.Tensor)
        try:
            found = torch.stack([joined(self.pieces(image, network), image.shape[1:]) for image in cases])
        except _OtherOutputError as other:
            _log.info(f"{other}; MONAI's own inferer blends them")
            return super().__call__(inputs, network)  # type: ignore[return-value]
        return as_given(found, inputs)

    def pieces(self, image: torch.Tensor, network: Any) -> Iterator[Piece]:
        """The same of one image `(C, spatial...)`, in finished pieces, in the order of the first axis."""
        self.needed = None
        for name, value in {"roi_size": self.roi_size, "overlap": self.overlap}.items():
            if isinstance(value, Sequence) and len(value) != image.ndim - 1:
                raise ConfigError(
                    f"{name} {list(value)}: the image has {image.ndim - 1} axes; give one number for each"
                )
        plan = self._plan(image, network)
        if isinstance(plan, Tiling):
            _tell_how_many(len(plan), network)
            return self._tiled(image, network, plan)
        grid = self._grid(image)
        _tell_how_many(math.prod(map(len, grid.starts)), network)
        return self._blended(image, network, grid, plan)

    def _plan(self, image: torch.Tensor, network: nn.Module) -> Tiling | int:
        """The windows that lie side by side; where windows are blended, how many go through the network at once."""
        if not isinstance(network, nn.Module):  # nothing that could be asked
            return self.sw_batch_size
        if self._known is None or self._known[0] is not network:
            self._known = network, Forecast(network, len(image), getattr(network, "precision", torch.float32))
        forecast = self._known[1]
        window = tuple(fall_back_tuple(self.roi_size, image.shape[1:]))
        step, needed = forecast.step(window), forecast.bytes(window)
        if step is None or needed is None:
            if self._window != "trained":
                known = f"takes windows of {window} only" if needed is not None else "is not one that can be forecast"
                _log.info(f"the network {known}; windows of {window} are taken")
            return self.sw_batch_size
        margin = [
            _margin(*each, step) for each in zip(window, ensure_tuple_rep(self.overlap, len(window)), strict=True)
        ]
        if min(margin) < 1:  # too small to be cut: what lies between two windows' voxels would be in neither
            return self.sw_batch_size
        limits = [each for each in (self._most, self.memory) if each is not None]
        free = min(limits) if limits else _SHARE * free_memory(self._computes(image))
        if self._window == "trained" or (self._window == "auto" and _normalises_windows(network)):
            sums = 4 * forecast.classes * (window[0] + 1) * math.prod(map(max, image.shape[2:], window[1:]))
            if sums + needed <= free:
                batch_size = min(self.sw_batch_size, int((free - sums) / needed))
                self.needed = sums + batch_size * needed
                if batch_size < self.sw_batch_size:
                    self._tell(f"memory holds {batch_size} of {self.sw_batch_size} windows of {window} at once")
                return batch_size
            _log.warning(
                f"windows of {window} are not blended, each voxel is taken from one of them: the sums of "
                f"{forecast.classes} classes would take {sums / 1e9:.1f} GB of {free / 1e9:.1f} GB"
            )
            free = 0  # the smallest that there are
        most_voxels = free / needed * math.prod(window)
        while True:
            tiling = Tiling.over(image.shape[1:], window, margin=margin, step=step, most_voxels=most_voxels)
            needed = forecast.bytes(tiling.window) or 0
            if needed <= free or tiling.window == window:
                self.needed = needed
                if len(tiling) > 1:
                    self._tell(f"memory holds windows of {tiling.window}, not the image of {tuple(image.shape[1:])}")
                return tiling
            most_voxels = math.prod(tiling.window) * min(0.9, free / needed)

    def _tell(self, what: str) -> None:
        """Once, however many slices or images of a size there are."""
        if what not in self._told:
            self._told.add(what)
            _log.info(what)

    @torch.no_grad()
    def _tiled(self, image: torch.Tensor, network: nn.Module, tiling: Tiling) -> Iterator[Piece]:
        size = tuple(image.shape[1:])
        whole = padded(image, tiling.before, tiling.size, str(self.padding_mode), self.cval)
        classes: int | None = None
        for box, core in tiling.boxes():
            seen = whole[all_channels(box)][None]
            if classes is not None and self._holds_nothing(seen[0]):
                logits = _nothing(seen, classes, self._holds(image))
            else:
                logits = self._logits(seen.clone(), network)[0]
                classes = len(logits)
            held = within(seen_from(box, tiling.before), size)
            inner = seen_from(held, [each.start - first for each, first in zip(box, tiling.before, strict=True)])
            yield Piece(
                logits[all_channels(inner)],
                tuple(each.start for each in held),
                within(seen_from(core, tiling.before), size),
            )

    @torch.no_grad()
    def _blended(self, image: torch.Tensor, network: nn.Module, grid: WindowGrid, batch_size: int) -> Iterator[Piece]:
        whole = padded(image, grid.before, grid.size, str(self.padding_mode), self.cval)
        blend = _Blend(grid, tuple(image.shape[1:]))
        for top, following, places in grid.rows():
            row = [all_channels(box_at((top, *place), grid.window)) for place in places]
            empty = [self._holds_nothing(whole[box]) for box in row]
            if all(empty) and not blend.knows_classes:
                empty[0] = False
            run = [box for box, nothing in zip(row, empty, strict=True) if not nothing]
            for begin in range(0, len(run), batch_size):
                batch = run[begin : begin + batch_size]
                logits = self._logits(torch.stack([whole[box] for box in batch]), network)
                for box, each in zip(batch, logits, strict=True):
                    blend.add(box, each)
            for box, nothing in zip(row, empty, strict=True):
                if nothing:
                    blend.leave_out(box)
            yield blend.piece(top, following)
            blend.move_on(following - top)

    def _logits(self, windows: torch.Tensor, network: nn.Module) -> torch.Tensor:
        windows = windows.to(self._computes(windows))
        with Onednn() if windows.device.type == "cpu" else nullcontext():
            found = network(windows)
        return _checked(found, len(windows), tuple(windows.shape[2:])).to(self._holds(windows))

    def _computes(self, image: torch.Tensor) -> torch.device:
        return torch.device(self.sw_device or image.device)

    def _holds(self, image: torch.Tensor) -> torch.device:
        return torch.device(self.device or image.device)

    def _holds_nothing(self, seen: torch.Tensor) -> bool:
        return self._skip_below is not None and bool(seen[0].max() <= self._skip_below)

    def _grid(self, image: torch.Tensor) -> WindowGrid:
        size = tuple(image.shape[1:])
        return WindowGrid.over(
            size,
            fall_back_tuple(self.roi_size, size),
            ensure_tuple_rep(self.overlap, len(size)),
            mode=str(self.mode),
            sigma_scale=self.sigma_scale,
            device=self._holds(image),
        )


class _OtherOutputError(ConfigError):
    """A network's output that is not blended in pieces."""


class _Blend:
    """The weighted sums of the windows of one row, the last finished plane of the row before in front of them."""

    def __init__(self, grid: WindowGrid, image: tuple[int, ...]) -> None:
        self._grid = grid
        self._image = image
        self._sums: torch.Tensor | None = None
        self._left_out: torch.Tensor | None = None

    @property
    def knows_classes(self) -> bool:
        """Whether a window has told how many classes there are."""
        return self._sums is not None

    def add(self, box: Box, logits: torch.Tensor) -> None:
        """Take in what a window that begins with the row says."""
        if self._sums is None:
            self._sums = self._zeros(len(logits))
        sums, weights = self._sums[all_channels(_in_row(box))], self._grid.weights
        # Part by part, because torch makes float32 of all that it is given first.
        if len(logits) <= len(weights):
            for mine, its_sum in zip(logits, sums, strict=True):
                its_sum.addcmul_(mine, weights)
        else:
            for plane, its_sum, weight in zip(logits.unbind(1), sums.unbind(1), weights, strict=True):
                its_sum.addcmul_(plane, weight)

    def leave_out(self, box: Box) -> None:
        """Do without a window."""
        if self._left_out is None:
            self._left_out = self._zeros(1)
        self._left_out[0][_in_row(box)] += self._grid.weights

    def piece(self, top: int, following: int) -> Piece:
        """The means at the planes from `top` to before `following`, which no later row changes."""
        if self._sums is None:
            raise ValueError("a row without windows")
        done = following - top
        finished = self._sums[:, 1 : done + 1]
        weights = self._grid.sums(top, following)
        if self._left_out is not None:
            taken = weights - self._left_out[0, 1 : done + 1]
            nothing = taken < 1e-5 * weights  # but for rounding these are 0; a window weighs 1e-3 or more
            finished[0][nothing] = _SURE
            weights = taken.masked_fill_(nothing, 1)
        finished /= weights
        return self._cropped(top - 1 if top else 0, following, self._sums[:, (0 if top else 1) : done + 1])

    def _cropped(self, begin: int, end: int, logits: torch.Tensor) -> Piece:
        """The planes from `begin` to before `end` of the padded image, without what was padded."""
        before, size = self._grid.before, self._image
        first = max(begin, before[0])
        last = min(end, before[0] + size[0])
        held = (slice(first - begin, last - begin), *box_at(before[1:], size[1:]))
        logits = logits[all_channels(held)]
        core_end = size[0] if end == self._grid.size[0] else end - 1
        start = first - before[0]
        core = (slice(start, core_end), *(slice(0, length) for length in size[1:]))
        return Piece(logits, (start, *(0 for _ in size[1:])), core)

    def move_on(self, planes: int) -> None:
        """Make room for a row that begins so many planes later."""
        for buffer in (self._sums, self._left_out):
            for each in buffer if buffer is not None else ():
                kept = each[planes:].clone()  # a tensor cannot be copied onto a part of itself
                each[: len(kept)] = kept
                each[len(kept) :] = 0

    def _zeros(self, channels: int) -> torch.Tensor:
        weights = self._grid.weights
        return weights.new_zeros((channels, 1 + self._grid.window[0], *self._grid.size[1:]))


def _tell_how_many(windows: int, network: Any) -> None:
    """Let a network that makes itself ready, such as `Prepared`, know what is to come."""
    if hasattr(network, "expect"):
        network.expect(windows)


def _nothing(seen: torch.Tensor, classes: int, device: torch.device) -> torch.Tensor:
    """The logits of a window that was not run."""
    logits = seen.new_zeros((classes, *seen.shape[2:]), device=device)
    logits[0] = _SURE
    return logits


def _normalises_windows(network: nn.Module) -> bool:
    """Whether what a network says of a voxel depends on the statistics of the window that it lies in."""
    return any(
        isinstance(module, _OVER_A_WINDOW) and not getattr(module, "track_running_stats", False)
        for module in network.modules()
    )


def _margin(window: int, overlap: float, step: int) -> int:
    """How far inside a window the places lie that are taken from it: half of what windows overlap; 0 for none."""
    half_step = max(1, step // 2)
    wanted = max(half_step, math.ceil(window * overlap / 2 / half_step) * half_step)
    return min(wanted, (window - step) // 2 // half_step * half_step)


def _in_row(box: Box) -> Box:
    """Where a window `(C, spatial...)` lies in the sums of its row, which have one plane in front."""
    return (slice(1, None), *box[2:])


def _checked(logits: Any, batch: int, window: tuple[int, ...]) -> torch.Tensor:
    if isinstance(logits, torch.Tensor) and len(logits) == batch and tuple(logits.shape[2:]) == window:
        return logits
    gave = (
        f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
    )
    raise _OtherOutputError(
        f"the network gave {gave} for windows of {window}; SlidingWindow takes one tensor of the windows' size"
    )
