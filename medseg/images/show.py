"""Images as `pictures.Panel` takes them: one number per voxel, a picture with two axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.images.image import Image


def brightness(image: Image) -> NDArray[Any]:
    """One number per voxel: the mean of colours, else the first channel."""
    array = image.array
    if array.ndim == 4:
        array = array.mean(axis=3) if array.dtype.kind == "u" and array.shape[3] in (2, 3, 4) else array[..., 0]
    return _flat(image, array)


def as_label_map(label: Image) -> NDArray[Any]:
    """One value per voxel; where structures overlap, the later one's."""
    array = label.array
    if array.ndim == 4:
        array = np.zeros(array.shape[:3], np.int32)
        for channel, each in enumerate(label.classes):
            array[label.array[..., channel] > 0] = each.value
    return _flat(label, array)


def _flat(image: Image, array: NDArray[Any]) -> NDArray[Any]:
    return array[:, :, 0] if image.spatial_dims == 2 else array
