"""What a network says of an image, handed out part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn

from medseg.inference.windows.boxes import Box, all_channels, seen_from


@dataclass(frozen=True, eq=False)
class Piece:
    """Logits of a part of an image that nothing changes any more.

    Attributes:
        logits: `(class, spatial...)`; they may be overwritten when the next piece is asked for.
        start: the voxel of the image where they begin, per axis.
        core: the places that the piece answers for, per axis from `core.start` to before `core.stop`, between voxels
            too: the voxels on both sides of such a place are among the logits. The cores of all pieces cover the
            image and do not overlap; the last along an axis ends with the image.
    """

    logits: torch.Tensor
    start: tuple[int, ...]
    core: Box

    @classmethod
    def whole(cls, logits: torch.Tensor) -> Piece:
        """The only piece of an image."""
        size = logits.shape[1:]
        return cls(logits, (0,) * len(size), tuple(slice(0, length) for length in size))


def pieces_of(inferer: Inferer, image: torch.Tensor, network: nn.Module) -> Iterator[Piece]:
    """What an inferer says of an image `(C, spatial...)`: its pieces if it has such, else all in one."""
    if hasattr(inferer, "pieces"):
        pieces: Iterator[Piece] = inferer.pieces(image, network)
        return pieces
    return iter([Piece.whole(inferer(image[None], network)[0])])


def as_given(found: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """What an inferer found, with the place in the world and the file's name of what it was given, as MONAI's gives."""
    return MetaTensor(found).copy_meta_from(inputs, copy_attr=False) if isinstance(inputs, MetaTensor) else found


def joined(pieces: Iterable[Piece], size: Sequence[int]) -> torch.Tensor:
    """All pieces of an image of `size` voxels as one tensor `(class, spatial...)`, float32."""
    result: torch.Tensor | None = None
    for piece in pieces:
        if result is None:
            result = piece.logits.new_empty((len(piece.logits), *size), dtype=torch.float32)
        held = seen_from(piece.core, piece.start)
        result[all_channels(piece.core)] = piece.logits[all_channels(held)]
    if result is None:
        raise ValueError("no pieces")
    return result
