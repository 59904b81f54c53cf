"""From the network's grid back to the scan's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureTyped, Invertd, InvertibleTransform, MapTransform
from numpy.typing import NDArray

from medseg.bundle.metadata import label_classes
from medseg.inference.postprocessing.steps import Postprocessing, VoxelSize, priority_first
from medseg.inference.restoring.decision import Decided, Decision, decision_beside
from medseg.inference.restoring.label_map import Drawing, MakeArray
from medseg.inference.restoring.source_grid import SourceGrid
from medseg.inference.windows.pieces import Piece, joined
from medseg.types import LabelClass


class ToSourceGrid(Compose):
    """MONAI transform that undoes the spatial part of a preprocessing on the logits, then decides on classes.

    Logits, not labels, are resampled (linearly): edges then lie between voxels instead of on steps.
    Expects `{"image": ..., "pred": logits (C, spatial...)}` after `preprocessing`; leaves in `pred` the
    label map `(1, spatial...)` on the grid of the file that was read. Where logits come in pieces, `drawing` and
    `finished` do the same without ever holding all of them on that grid.

    Args:
        preprocessing: of the bundle.
        decision: from logits to classes.
        classes: of the bundle.
        postprocessing: what is done to the label map then.
    """

    def __init__(
        self,
        preprocessing: Compose,
        decision: Decision,
        classes: Sequence[LabelClass],
        postprocessing: Postprocessing,
    ) -> None:
        self._undone = _undone(preprocessing)
        self._decision = decision
        self._classes = tuple(classes)
        self._postprocessing = postprocessing
        super().__init__([*self._undone, Decided("pred", decision, classes, postprocessing)])

    @property
    def settings(self) -> str:
        """The decision and the steps in words; equal ones make the same labels of the same logits."""
        return repr((self._decision, self._postprocessing.steps))

    def check(self, affine: Any, spatial_dims: int) -> None:
        """Raise a `MedsegError` where a step does not fit an image with such an affine: before the network runs."""
        self._postprocessing.check(VoxelSize.of(affine, spatial_dims=spatial_dims))

    def draw(self, image: MetaTensor, pieces: Iterable[Piece], *, probabilities: MakeArray | None = None) -> Drawing:
        """The label map, before postprocessing, of the pieces of a preprocessed image's logits; see `Drawing`."""
        grid = SourceGrid.of(image)
        if grid is None:
            data = {"image": image, "pred": joined(pieces, image.shape[1:]).float().cpu()}
            logits = torch.as_tensor(Compose(self._undone)(data)["pred"]).as_subclass(torch.Tensor)
            grid, pieces = SourceGrid.itself(logits.shape[1:]), [Piece.whole(logits)]
        drawing = Drawing(grid, self._decision, self._classes, probabilities=probabilities)
        for piece in pieces:
            drawing.add(piece)
        return drawing

    def finished(self, labels: NDArray[np.uint8], affine: Any) -> NDArray[np.uint8]:
        """A drawn label map after postprocessing; `affine` is that of the file."""
        return self._postprocessing(labels, VoxelSize.of(affine, spatial_dims=labels.ndim))


def to_source_grid(
    preprocessing: Compose,
    *,
    metadata: Mapping[str, Any],
    checkpoint: str | Sequence[str] | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
) -> ToSourceGrid:
    """The postprocessing of a bundle, with the decision that lies beside its weights.

    Args:
        preprocessing: of the bundle.
        checkpoint: the weights, beside which a `Decision` may lie; without one the most probable class wins.
        metadata: of the bundle.
        steps: what is done to the label map then, such as `{largest: [spleen]}`; see `postprocessing`.

    Raises:
        BundleError: if the decision or a step does not fit the bundle.
    """
    classes = label_classes(metadata)
    decision = decision_beside(checkpoint, classes)
    priority, steps = priority_first(steps, metadata)
    postprocessing = Postprocessing([*decision.steps, *steps], metadata=metadata)
    return ToSourceGrid(preprocessing, replace(decision, priority=priority), classes, postprocessing)


def _undone(preprocessing: Compose) -> list[MapTransform]:
    """What takes the logits back; nothing where nothing moved, which MONAI's `Invertd` warns of at every case."""
    if not any(isinstance(each, InvertibleTransform) for each in preprocessing.flatten().transforms):
        return []
    return [
        EnsureTyped(keys="pred", track_meta=True),  # Invertd passes plain tensors by with a warning
        Invertd(keys="pred", transform=preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True),
    ]
