"""The way back from the network's grid to the scan's, piece by piece, as one sparse matrix per axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy import sparse

from medseg.inference.windows.boxes import Box, all_channels, seen_from
from medseg.inference.windows.pieces import Piece

# Bytes of logits that are interpolated at once: what stays in a core's cache; on a GPU enough to keep it busy.
_WORKING_SET = {"cpu": 2 * 2**20, "cuda": 128 * 2**20}
_SAME = 1e-4  # of a voxel: nearer places are the same

Affine = NDArray[np.float64]
Wanted = Callable[[Box], bool]


@dataclass(frozen=True, eq=False)
class AxisBack:
    """How the voxels of the scan along one axis follow from those of the network's grid: each from two neighbours.

    Attributes:
        lower: the first of the two, per voxel of the scan; only ever grows, or only ever falls.
        near: its weight.
        far: the weight of the next one.
    """

    lower: NDArray[np.intp]
    near: NDArray[np.float32]
    far: NDArray[np.float32]

    @classmethod
    def of(cls, matrix: sparse.csr_array) -> AxisBack | None:
        """What a matrix `(voxels of the scan, voxels of the network)` says; None if it mixes more than neighbours."""
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        first, count = matrix.indptr[:-1], np.diff(matrix.indptr)
        taken = np.flatnonzero(count)
        two = np.flatnonzero(count == 2)
        if not len(taken) or count.max() > 2 or np.any(np.diff(matrix.indices)[first[two]] != 1):
            return None
        near, far = np.zeros((2, len(count)), dtype=np.float32)
        near[taken] = matrix.data[first[taken]]
        far[two] = matrix.data[first[two] + 1]
        # A voxel that lies outside of the network's grid gets nothing of the nearest one that lies inside.
        nearest = taken[np.searchsorted(taken, np.arange(len(count))).clip(max=len(taken) - 1)]
        return cls(matrix.indices[first[nearest]].astype(np.intp), near, far)

    def within(self, core: slice) -> slice:
        """The voxels of the scan that lie in `core` of the network's grid."""
        found = np.flatnonzero((self.lower >= core.start) & (self.lower < core.stop))
        return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)

    def seen(self, voxels: slice) -> slice:
        """The stretch of the network's grid that some voxels of the scan follow from."""
        lower = self.lower[voxels]
        return slice(int(lower.min()), int(lower.max()) + 1 + int(self.far[voxels].any()))

    def take(self, logits: torch.Tensor, axis: int, voxels: slice) -> torch.Tensor:
        """Logits at some voxels of the scan, from those of the network's grid that they see, along `axis`."""
        lower, near, far = self.lower[voxels] - self.lower[voxels].min(), self.near[voxels], self.far[voxels]
        if not far.any() and (near == 1).all():
            return logits if (np.diff(lower) == 1).all() else _taken(logits, axis, lower)
        near_weight, far_weight = (
            torch.from_numpy(each).to(logits.device).reshape(-1, *(1,) * (logits.ndim - 1 - axis))
            for each in (near, far)
        )
        upper = np.minimum(lower + 1, logits.shape[axis] - 1)
        return _taken(logits, axis, lower).mul_(near_weight).addcmul_(_taken(logits, axis, upper), far_weight)


@dataclass(frozen=True, eq=False)
class SourceGrid:
    """The grid of the file that a preprocessed image was read from.

    Attributes:
        axes: per axis of the scan, the axis of the network's grid that it is.
        back: per axis of the network's grid, the way back.
    """

    axes: tuple[int, ...]
    back: tuple[AxisBack, ...]

    @classmethod
    def of(cls, image: MetaTensor) -> SourceGrid | None:
        """The way back through everything that MONAI's transforms did to an image's grid.

        It is the same as MONAI's `Invertd` with linear interpolation makes: beyond what a crop left is 0, beyond
        a resampled image is its border.

        Args:
            image: `(C, spatial...)`, whose `applied_operations` are turned round.

        Returns:
            None where axes do not stay axes (rotation, shear), or a transform is not one of orientation, linear
            resampling, cropping and padding: there `Invertd` has to do it.
        """
        way = _Way.from_grid(image)
        for operation in reversed(image.applied_operations):
            undo = _UNDO.get(_kind(operation))
            if undo is None or not undo(way, operation):
                return None
        back = [AxisBack.of(sparse.csr_array(matrix)) for matrix in way.matrices]
        if any(each is None for each in back):
            return None
        return cls(tuple(way.axes), tuple(each for each in back if each is not None))

    @classmethod
    def itself(cls, shape: Sequence[int]) -> SourceGrid:
        """The grid of logits that lie on the scan's already."""
        return cls(
            tuple(range(len(shape))),
            tuple(AxisBack(np.arange(size), np.ones(size, np.float32), np.zeros(size, np.float32)) for size in shape),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the scan."""
        return tuple(len(self.back[axis].lower) for axis in self.axes)

    def voxels(self, piece: Piece) -> int:
        """How many of the scan's lie in a piece's core."""
        return math.prod(each.stop - each.start for each in self._within(piece))

    def restored(self, piece: Piece, wanted: Wanted | None = None) -> Iterator[tuple[Box, torch.Tensor]]:
        """The logits of the scan's voxels in a piece's core: boxes of the scan, and `(class, box...)` of each.

        Args:
            piece: of logits on the network's grid.
            wanted: which boxes are; it is told from which box of the piece's voxels one follows. None for all.
        """
        where = self._within(piece)
        sizes = [each.stop - each.start for each in where]
        if 0 in sizes:
            return
        most = max(math.prod(sizes), piece.logits[0].numel())
        working_set = _WORKING_SET.get(piece.logits.device.type, _WORKING_SET["cpu"])
        sides = _sides(sizes, working_set * math.prod(sizes) // (4 * len(piece.logits) * most))
        for box in product(*(_parts(*each) for each in zip(where, sides, strict=True))):
            seen = [back.seen(voxels) for back, voxels in zip(self.back, box, strict=True)]
            held = seen_from(seen, piece.start)
            if wanted is not None and not wanted(held):
                continue
            logits = piece.logits[all_channels(held)]
            for axis in reversed(range(len(box))):  # the last, where taking is slow, while there is little to take
                logits = self.back[axis].take(logits, axis + 1, box[axis])
            yield (
                tuple(box[axis] for axis in self.axes),
                logits.permute(0, *(axis + 1 for axis in self.axes)),
            )

    def _within(self, piece: Piece) -> list[slice]:
        """The scan's voxels in a piece's core, along each axis of the network's grid."""
        return [back.within(core) for back, core in zip(self.back, piece.core, strict=True)]


class _Way:
    """How far the way back has come: a matrix per axis from the network's grid to the one reached."""

    def __init__(self, affine: Affine, sizes: Sequence[int]) -> None:
        self.affine = affine
        self.axes = list(range(len(sizes)))
        self.matrices: list[Any] = [sparse.eye_array(size, format="csr") for size in sizes]

    @classmethod
    def from_grid(cls, image: MetaTensor) -> _Way:
        """The start: the image's own grid."""
        affine = np.asarray(image.affine, dtype=np.float64)
        dims = image.ndim - 1
        keep = [*range(dims), len(affine) - 1]
        return cls(affine[np.ix_(keep, keep)], image.shape[1:])

    def size(self, axis: int) -> int:
        """Voxels along an axis of the grid reached."""
        size: int = self.matrices[self.axes[axis]].shape[0]
        return size

    def apply(self, axis: int, matrix: Any) -> None:
        """Go on along an axis of the grid reached."""
        self.matrices[self.axes[axis]] = matrix @ self.matrices[self.axes[axis]]

    def shift(self, axis: int, first: int, size: int) -> None:
        """To a grid of `size` voxels whose voxel 0 is `first` here; what lies outside is 0."""
        self.apply(axis, sparse.eye_array(size, self.size(axis), k=first, format="csr"))
        self.affine = self.affine.copy()
        self.affine[:, -1] += first * self.affine[:, axis]

    def to(self, affine: Affine) -> Affine:
        """From voxels of the grid of `affine` to voxels of the grid reached."""
        return np.linalg.solve(self.affine, affine).astype(np.float64)


def _undo_orientation(way: _Way, operation: Mapping[str, Any]) -> bool:
    affine = _same_rank(operation["extra_info"]["original_affine"], way)
    matrix = way.to(affine)
    sources = np.abs(matrix[:-1, :-1]).argmax(axis=0)
    for axis in np.flatnonzero(matrix[sources, range(len(sources))] < 0):
        here = int(sources[axis])
        way.apply(here, sparse.eye_array(way.size(here), format="csr")[::-1])
    way.axes = [way.axes[axis] for axis in sources]
    way.affine = affine
    return True


def _undo_resampling(way: _Way, operation: Mapping[str, Any]) -> bool:
    info = operation["extra_info"]
    affine = _same_rank(info["src_affine"], way)
    matrix, sizes = way.to(affine), operation["orig_size"]
    scales = matrix.diagonal()[:-1]
    stray = np.abs(matrix[:-1, :-1] - np.diag(scales)) * np.asarray(sizes)
    if stray.max() > _SAME or info["mode"] != "bilinear" or info["padding_mode"] != "border":
        return False
    for axis, size in enumerate(sizes):
        places = (scales[axis] * np.arange(size) + matrix[axis, -1]).clip(0, way.size(axis) - 1)
        way.apply(axis, _between(places, way.size(axis)))
    way.affine = affine
    return True


def _undo_crop(way: _Way, operation: Mapping[str, Any]) -> bool:
    if (padding := operation["extra_info"].get("pad_info")) is not None:
        _undo_pad(way, padding)
    cropped = operation["extra_info"]["cropped"]
    for axis, size in enumerate(operation["orig_size"]):
        way.shift(axis, -cropped[2 * axis], size)
    return True


def _undo_pad(way: _Way, operation: Mapping[str, Any]) -> bool:
    padded = operation["extra_info"]["padded"][1:]
    for axis, size in enumerate(operation["orig_size"]):
        way.shift(axis, padded[axis][0], size)
    return True


_UNDO = {
    "orientation": _undo_orientation,
    "resampling": _undo_resampling,
    "crop": _undo_crop,
    "pad": _undo_pad,
}


def _kind(operation: Mapping[str, Any]) -> str:
    name = operation["class"]
    info = operation["extra_info"]
    if name == "Orientation":
        return "orientation"
    if name == "SpatialResample":
        return "resampling"
    return "crop" if "cropped" in info else "pad" if "padded" in info else "other"


def _between(places: NDArray[np.float64], size: int) -> Any:
    """The matrix of linear interpolation at `places` among `size` voxels."""
    near_whole = np.abs(places - places.round()) < _SAME
    places = np.where(near_whole, places.round(), places)
    lower = np.floor(places).astype(int)
    share = places - lower
    rows = np.arange(len(places))
    upper = np.minimum(lower + 1, size - 1)
    data = np.concatenate([1 - share, share])
    return sparse.csr_array((data, (np.tile(rows, 2), np.concatenate([lower, upper]))), shape=(len(rows), size))


def _taken(logits: torch.Tensor, axis: int, places: NDArray[np.intp]) -> torch.Tensor:
    """The logits at places along an axis, as float32 of their own."""
    if logits.device.type == "cpu":  # numpy's is three times as fast along the last axis
        return torch.from_numpy(np.take(logits.float().numpy(), places, axis=axis))
    return logits.index_select(axis, torch.from_numpy(places).to(logits.device)).float()


def _sides(sizes: Sequence[int], voxels: int) -> list[int]:
    """The longest sides of a box of about so many voxels, as near to a cube as they fit into `sizes`."""
    sides = list(sizes)
    while math.prod(sides) > max(1, voxels):
        longest = int(np.argmax(sides))
        sides[longest] = (sides[longest] + 1) // 2
    return sides


def _parts(voxels: slice, length: int) -> list[slice]:
    return [slice(at, min(at + length, voxels.stop)) for at in range(voxels.start, voxels.stop, length)]


def _same_rank(affine: Any, way: _Way) -> Affine:
    matrix = np.asarray(affine, dtype=np.float64)
    keep = [*range(len(way.affine) - 1), len(matrix) - 1]
    return matrix[np.ix_(keep, keep)]
