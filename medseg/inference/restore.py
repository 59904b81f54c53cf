"""From the network's grid back to the scan's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.transforms import Compose, EnsureTyped, Invertd, InvertibleTransform, MapTransform

from medseg.bundle.metadata import label_classes
from medseg.inference.decision import Decided, decision_beside
from medseg.inference.postprocessing import Postprocessing


def to_source_grid(
    preprocessing: Compose,
    *,
    metadata: Mapping[str, Any],
    checkpoint: str | Sequence[str] | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
) -> Compose:
    """Postprocessing that undoes the spatial part of `preprocessing` on the logits, then decides on classes.

    Logits, not labels, are resampled (linearly): edges then lie between voxels instead of on steps.
    Expects `{"image": ..., "pred": logits (C, spatial...)}` after `preprocessing`; leaves in `pred` the
    label map `(1, spatial...)` on the grid of the file that was read.

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
    decided = Decided("pred", decision, classes, Postprocessing([*decision.steps, *steps], metadata=metadata))
    return Compose([*_undone(preprocessing), decided])


def _undone(preprocessing: Compose) -> list[MapTransform]:
    """What takes the logits back; nothing where nothing moved, which MONAI's `Invertd` warns of at every case."""
    if not any(isinstance(each, InvertibleTransform) for each in preprocessing.flatten().transforms):
        return []
    return [
        EnsureTyped(keys="pred", track_meta=True),  # Invertd passes plain tensors by with a warning
        Invertd(keys="pred", transform=preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True),
    ]
