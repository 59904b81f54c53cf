"""Colours of pictures in the space in which a network is to see them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from matplotlib.colors import rgb_to_hsv
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor
from numpy.typing import NDArray

from medseg.errors import ConfigError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class ColourSpaced(MapTransform):
    """MONAI transform of pictures `(3, i, j)` from RGB, 0 to 255, to `space`, each channel 0 to 255 again.

    Args:
        keys: of the pictures.
        space: `rgb` leaves them; `hsv` is hue, saturation and value (Smith 1978); `grey` is the luma (ITU-R
            BT.601) in all three channels, so that the network stays the same; `luma` is it in one channel, also
            from pictures that have one.

    Raises:
        ConfigError: for another space, and for a picture that has no colours to convert.
    """

    def __init__(self, keys: str, space: str) -> None:
        super().__init__(keys)
        if space not in ("rgb", "hsv", "grey", "luma"):
            raise ConfigError(f"colour space '{space}': expected rgb, hsv, grey or luma")
        self._space = space

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace every picture; its metadata stay."""
        converted = dict(data)
        for key in self.key_iterator(converted):
            picture = convert_to_tensor(converted[key], track_meta=True)
            array = np.asarray(picture, dtype=np.float32)
            self._check(array)
            if self._space == "hsv":
                array = np.moveaxis(rgb_to_hsv(np.moveaxis(array, 0, -1) / 255), -1, 0) * 255
            elif self._space in ("grey", "luma"):
                luma = np.tensordot(np.array(_LUMA, np.float32), array, axes=1) if len(array) == 3 else array[0]
                array = np.repeat(luma[None], 3 if self._space == "grey" else 1, axis=0)
            converted[key] = MetaTensor(
                np.ascontiguousarray(array, dtype=np.float32),
                meta=picture.meta,
                applied_operations=picture.applied_operations,
            )
        return converted

    def _check(self, array: NDArray[np.float32]) -> None:
        known = {"hsv": (3,), "grey": (1, 3), "luma": (1, 3)}.get(self._space)
        if known is not None and len(array) not in known:
            raise ConfigError(
                f"colour space {self._space} of a picture of {len(array)} channels: expected {known[-1]}, "
                "as Reader(rgb=True) gives them"
            )
        if self._space == "hsv" and not (array.min(initial=0) >= 0 and array.max(initial=0) <= 255):
            raise ConfigError(f"colour space hsv of values from {array.min():g} to {array.max():g}: expected 0 to 255")
