"""How much every pixel of a label should count: rare classes more, and most of all the gaps between cells."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np
from monai.transforms import MapTransform
from monai.utils.type_conversion import convert_to_dst_type
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.ndimage import label as numbered

from medseg.errors import ConfigError

# In sigmas: the border's weight has fallen to w0 * 1.5e-8 there, which float32 hardly tells from 0 beside w_c.
_REACH = 6.0


def border_weights(label: NDArray[Any], *, cell: int = 1, w0: float = 10.0, sigma: float = 5.0) -> NDArray[np.float32]:
    """Pixel-wise weights of the 2015 U-Net (Ronneberger, Fischer and Brox, equation 2), for touching cells.

    w = w_c + w0 * exp(-(d1 + d2)^2 / (2 sigma^2)), with d1 and d2 the distances from a pixel to the nearest and
    the second nearest cell. A cell is a component of its pixels, connected by edges (4 neighbours; in volumes by
    faces, 6). Distances are between centres of pixels, in pixels (voxels); inside a cell d1 is 0, so that its
    pixels beside a narrow gap weigh more too. With fewer than two cells there is no gap, and nothing is added.

    The paper says of w_c only that it balances the frequencies of the classes. Here each of the two, cell and
    all else, weighs the same in sum, and the mean is 1: w_c = pixels / (2 * pixels of the class). With one class
    alone it is 1.

    Args:
        label: `(H, W)` or `(i, j, k)`, integer or boolean.
        cell: the label value of cells; everything else lies between them.
        w0: what a gap of no width adds.
        sigma: how fast that falls as gaps widen, in pixels.

    Returns:
        Of the label's shape, float32.

    Raises:
        ConfigError: if w0 is negative or sigma not positive.
        ValueError: if the label has not two or three axes.
    """
    _check(w0, sigma)
    if label.ndim not in (2, 3):
        raise ValueError(f"label of shape {label.shape}: expected (H, W) or (i, j, k)")
    cells = label == cell
    nearest, second = _two_nearest(cells, _REACH * sigma)
    gap: NDArray[np.float32] = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return (_balance(cells) + gap).astype(np.float32)


class BorderWeightsd(MapTransform):
    """MONAI transform that adds the map of `border_weights` for a label `(1, H, W)` or `(1, i, j, k)`, of its shape.

    For `medseg.losses.WeightedCrossEntropy`, after the transforms that bend the label.

    Args:
        keys: the label.
        output: the key of the map.
        cell: see `border_weights`, as for the other two.
        w0: of no width.
        sigma: in pixels.

    Raises:
        ConfigError: for several keys, or values that `border_weights` does not take.
    """

    def __init__(
        self,
        keys: str = "label",
        output: str = "weight",
        cell: int = 1,
        w0: float = 10.0,
        sigma: float = 5.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ConfigError(f"BorderWeightsd of {list(self.keys)}: expected one key, that of the label")
        _check(w0, sigma)
        self._output = output
        self._weights = partial(border_weights, cell=cell, w0=w0, sigma=sigma)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the map; an array or tensor as the label is, where the label is."""
        weighted = dict(data)
        for key in self.key_iterator(weighted):
            label = weighted[key]
            if label.ndim not in (3, 4) or len(label) != 1:
                raise ConfigError(
                    f"{key} of shape {tuple(label.shape)}: BorderWeightsd takes (1, H, W) or (1, i, j, k)"
                )
            weights = self._weights(np.asarray(label[0]))[None]
            weighted[self._output] = convert_to_dst_type(weights, label, dtype=np.float32)[0]
        return weighted


def _check(w0: float, sigma: float) -> None:
    if not (w0 >= 0 and 0 < sigma < math.inf):
        raise ConfigError(f"border weights of w0 {w0} and sigma {sigma}: expected 0 or more, and more than 0")


def _balance(cells: NDArray[np.bool_]) -> NDArray[np.float32]:
    inside = int(cells.sum())
    outside = cells.size - inside
    if not inside or not outside:
        return np.ones(cells.shape, dtype=np.float32)
    return np.where(cells, cells.size / (2 * inside), cells.size / (2 * outside)).astype(np.float32)


def _two_nearest(cells: NDArray[np.bool_], reach: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The distances of every pixel to the two nearest cells; infinite where a cell is not within `reach`."""
    numbers, _ = numbered(cells)
    nearest = np.full(cells.shape, np.inf, dtype=np.float32)
    second = nearest.copy()
    beyond = math.ceil(reach)
    # A cell matters only around itself: its window is a small part of the image.
    for number, box in enumerate(find_objects(numbers), start=1):
        window = tuple(slice(max(0, axis.start - beyond), axis.stop + beyond) for axis in box)
        distance = distance_transform_edt(numbers[window] != number).astype(np.float32)
        second[window] = np.minimum(second[window], np.maximum(nearest[window], distance))
        nearest[window] = np.minimum(nearest[window], distance)
    return nearest, second
