"""From the network's grid back to the scan's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.transforms import Compose, EnsureTyped, Invertd, InvertibleTransform, MapTransform

from medseg.bundle.metadata import label_classes, label_regions
from medseg.errors import BundleError
from medseg.inference.decision import Decided, decision_beside


def to_source_grid(
    preprocessing: Compose,
    *,
    metadata: Mapping[str, Any],
    checkpoint: str | Sequence[str] | None = None,
    largest: Sequence[str] = (),
) -> Compose:
    """Postprocessing that undoes the spatial part of `preprocessing` on the logits, then decides on classes.

    Logits, not labels, are resampled (linearly): edges then lie between voxels instead of on steps.
    Expects `{"image": ..., "pred": logits (C, spatial...)}` after `preprocessing`; leaves in `pred` the
    label map `(1, spatial...)` on the grid of the file that was read.

    Args:
        preprocessing: of the bundle.
        checkpoint: the weights, beside which a `Decision` may lie; without one the most probable class wins.
        metadata: of the bundle.
        largest: the classes and regions of which only the largest component is kept, in this order.

    Raises:
        BundleError: if the decision or `largest` does not fit the bundle.
    """
    classes = label_classes(metadata)
    structures = {each.name: (each.value,) for each in classes} | label_regions(metadata)
    unknown = [name for name in largest if name not in structures]
    if unknown:
        raise BundleError(f"largest: '{unknown[0]}' is no class or region; there are {sorted(structures)}")
    decided = Decided(
        "pred", decision_beside(checkpoint, classes), classes, largest=[structures[name] for name in largest]
    )
    return Compose([*_undone(preprocessing), decided])


def _undone(preprocessing: Compose) -> list[MapTransform]:
    """What takes the logits back; nothing where nothing moved, which MONAI's `Invertd` warns of at every case."""
    if not any(isinstance(each, InvertibleTransform) for each in preprocessing.flatten().transforms):
        return []
    return [
        EnsureTyped(keys="pred", track_meta=True),  # Invertd passes plain tensors by with a warning
        Invertd(keys="pred", transform=preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True),
    ]
