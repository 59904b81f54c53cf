"""From the network's grid back to the scan's."""

from __future__ import annotations

from monai.transforms import AsDiscreted, Compose, EnsureTyped, Invertd


def to_source_grid(preprocessing: Compose) -> Compose:
    """Postprocessing that undoes the spatial part of `preprocessing` on the logits, then takes the argmax.

    Logits, not labels, are resampled (linearly): edges then lie between voxels instead of on steps.
    Expects `{"image": ..., "pred": logits (C, spatial...)}` after `preprocessing`; leaves in `pred` the
    label map `(1, spatial...)` on the grid of the file that was read.
    """
    return Compose(
        [
            EnsureTyped(keys="pred", track_meta=True),  # Invertd passes plain tensors by with a warning
            Invertd(keys="pred", transform=preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted(keys="pred", argmax=True),
        ]
    )
