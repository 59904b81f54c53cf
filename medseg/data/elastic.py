"""Elastic deformation from a coarse grid, as tissue bends."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import get_track_meta
from monai.transforms import MapTransform, RandomizableTransform, Resample
from monai.transforms.utils import create_grid
from monai.utils import convert_to_tensor, ensure_tuple_rep
from numpy.typing import NDArray

from medseg.errors import ConfigError


class RandGridElasticd(RandomizableTransform, MapTransform):
    """MONAI transform that bends images by the deformation of the 2015 U-Net (Ronneberger et al., section 3.1).

    Random displacement vectors on a coarse grid of 3 x 3 points, drawn from a Gaussian of 10 pixels standard
    deviation, become displacements of every pixel by bicubic interpolation. The paper does not say where the
    points lie; here they spread over the image from corner to corner. All keys are bent alike. A grid of three
    numbers bends volumes in the same way, by vectors of three components and tricubic interpolation.

    MONAI's `Rand2DElasticd` is another deformation: its points stand at fixed distances and reach beyond the
    image, and what it interpolates are positions, not displacements. Torch's bicubic interpolation does not keep a
    straight line straight, so that it bends by up to 12 pixels at a spacing of 256 even with a magnitude of 0.

    Args:
        keys: `(C, H, W)` each, or `(C, i, j, k)`, all of one size.
        prob: that a case is bent.
        grid: points along every axis, two numbers for images and three for volumes.
        sigma: of every component of a displacement, in pixels (voxels), or one for each axis: where slices are far
            apart, fewer voxels are as many mm.
        mode: of sampling, one for all keys or one per key: `bilinear` for images, `nearest` for labels.
        padding_mode: what lies beyond the image, likewise: `reflection`, `border` or `zeros`.

    Raises:
        ConfigError: for a grid of fewer than 2 points a side or a negative sigma; from a call, for keys of
            different sizes, or of other axes than the grid has.
    """

    def __init__(
        self,
        keys: str | Sequence[str],
        prob: float = 1.0,
        grid: Sequence[int] = (3, 3),
        sigma: float | Sequence[float] = 10.0,
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str | Sequence[str] = "reflection",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if len(grid) not in (2, 3) or min(grid) < 2:
            raise ConfigError(f"elastic grid of {list(grid)} points: expected two or three numbers, 2 or more each")
        sigmas = np.asarray(sigma, dtype=np.float64)
        if sigmas.shape not in ((), (len(grid),)) or not (sigmas >= 0).all():
            raise ConfigError(f"elastic sigma {sigma}: expected 0 pixels or more, one number or {len(grid)}")
        self._grid = tuple(grid)
        self._sigma = sigmas.reshape(-1, *[1] * len(grid))
        self._mode = ensure_tuple_rep(mode, len(self.keys))
        self._padding_mode = ensure_tuple_rep(padding_mode, len(self.keys))
        self._resample = Resample()
        self._vectors: NDArray[np.float64] = np.zeros((len(self._grid), *self._grid))

    def randomize(self, data: Any = None) -> None:
        """Draw whether to bend, and the displacement vectors: along every axis, in pixels, of every point."""
        super().randomize(data)
        if self._do_transform:
            self._vectors = self.R.normal(0, self._sigma, size=self._vectors.shape)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bend every key; float32 whether bent or not, so that cases stack into batches."""
        bent = dict(data)
        self.randomize()
        sizes = {str(key): tuple(bent[key].shape[1:]) for key in self.key_iterator(bent)}
        if not self._do_transform or not sizes:
            for key in self.key_iterator(bent):
                bent[key] = convert_to_tensor(bent[key], dtype=torch.float32, track_meta=get_track_meta())
            return bent
        size, *others = set(sizes.values())
        axes = len(self._grid)
        if others or len(size) != axes:
            raise ConfigError(f"elastic deformation of {sizes}: expected one size of {axes} axes, as the grid has")
        places = torch.as_tensor(create_grid(size, dtype=torch.float64, backend="torch"))
        places[:axes] += displacements(self._vectors, size)
        for key, mode, padding_mode in self.key_iterator(bent, self._mode, self._padding_mode):
            bent[key] = self._resample(bent[key], places, mode=mode, padding_mode=padding_mode)
        return bent


def displacements(vectors: NDArray[np.float64], size: Sequence[int]) -> torch.Tensor:
    """Displacements of every pixel `(2, H, W)` from those of a grid's points `(2, rows, columns)`, bicubic.

    The outer points of the grid lie on the outer pixels. Of a volume likewise `(3, i, j, k)`, tricubic.
    """
    points = torch.from_numpy(vectors)
    if points.ndim == 3:
        return _cubic(points[None], size)[0]
    planes = _cubic(points.permute(3, 0, 1, 2), size[:2])  # (points along k, 3, i, j): cubic axis by axis
    rows = planes.permute(1, 2, 3, 0).reshape(1, -1, planes.shape[0], 1)
    return _cubic(rows, (size[2], 1)).reshape(points.shape[0], *size)


def _cubic(points: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return F.interpolate(points, tuple(size), mode="bicubic", align_corners=True)
