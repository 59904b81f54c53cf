"""A scan's label map in the making, piece by piece of what a network says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from medseg.errors import MedsegError
from medseg.inference.restoring.decision import Decision
from medseg.inference.restoring.source_grid import SourceGrid, Wanted
from medseg.inference.windows.pieces import Piece
from medseg.types import LabelClass

MakeArray = Callable[[tuple[int, ...]], NDArray[np.float32]]  # of a shape
_SAMPLE = 4096  # voxels of a part of the image that tell how sure the network was


class Drawing:
    """Takes pieces of logits on the network's grid; draws classes on the scan's.

    Logits, not labels, are interpolated, so that edges lie between voxels instead of on steps. What is held is the
    label map, and of the logits one part at a time.

    Args:
        grid: of the scan.
        decision: from probabilities to classes.
        classes: of the bundle.
        probabilities: where those of all classes are kept too, `(scan's axes..., class)` float32: makes an array of
            that shape, such as `np.empty` or a file's; None for nowhere.

    Attributes:
        labels: class values on the scan's grid, uint8, the first axis running fastest as in files.
        probabilities: what was made, filled, the background first; None where nobody asked.
    """

    def __init__(
        self,
        grid: SourceGrid,
        decision: Decision,
        classes: Sequence[LabelClass],
        *,
        probabilities: MakeArray | None = None,
    ) -> None:
        self._grid = grid
        self._decision = decision
        self._classes = classes
        self._sure = 0.0
        self._drawn = 0
        self.labels: NDArray[np.uint8] = np.zeros(grid.shape, dtype=np.uint8, order="F")
        self.probabilities = None if probabilities is None else probabilities((*grid.shape, 1 + len(classes)))

    def add(self, piece: Piece) -> None:
        """Draw what a piece answers for.

        Raises:
            MedsegError: if the network said something that is no number.
        """
        if not torch.isfinite(piece.logits.amax()):  # NaN is the largest of all
            raise MedsegError("the network gives NaN or infinity; use --precision fp32, or train it anew")
        for box, logits in self._grid.restored(piece, self._wanted(piece)):
            labels = self._decision.winners(logits, self._classes)
            self.labels[box] = labels.cpu().numpy()
            self._count(logits, labels)
            if self.probabilities is not None:
                self.probabilities[box] = logits.float().softmax(dim=0).movedim(0, -1).cpu().numpy()

    def _wanted(self, piece: Piece) -> Wanted | None:
        """What is more than background, on a scan's grid that is finer than the network's; None for all.

        Where the background has the largest logit at all voxels that others lie between, it has it at those too:
        most of a scan need not be interpolated.
        """
        coarse = piece.logits[0].numel()
        is_finer = self._grid.voxels(piece) >= 2 * coarse
        if self.probabilities is not None or not self._decision.takes_the_most_probable or not is_finer:
            return None
        labels = torch.cat([self._decision.winners(plane, self._classes) for plane in piece.logits.split(1, dim=1)])
        return lambda box: bool(labels[box].any())

    def _count(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        drawn = labels.flatten().nonzero()[:, 0]
        if len(drawn):
            some = drawn[:: 1 + len(drawn) // _SAMPLE]
            chosen = labels.flatten()[some].long()[None]
            probabilities = logits.flatten(start_dim=1)[:, some].float().softmax(dim=0)
            self._sure += float(probabilities.gather(0, chosen).mean()) * len(drawn)
            self._drawn += len(drawn)

    @property
    def confidence(self) -> float | None:
        """The mean probability of what was drawn, from a sample of what is not background; None without any."""
        return self._sure / self._drawn if self._drawn else None
