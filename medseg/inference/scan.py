"""A scan as a bundle's first transform read it, and what the network made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from medseg.images import Geometry


@dataclass(frozen=True, eq=False)
class Scan:
    """Voxels and what their file tells.

    Attributes:
        array: `(channel, i, j, k)`; a picture has k of length 1.
        geometry: their grid, index -> RAS+ mm.
        spatial_dims: 2 for a picture, else 3.
        format: as `images.Image` has it.
        modality: such as CT, or "".
        warnings: what the user should know.
    """

    array: NDArray[Any]
    geometry: Geometry
    spatial_dims: int
    format: str
    modality: str
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, image: MetaTensor) -> Scan:
        """What `LoadImaged` with medseg's reader made of an image's files: `(channel, i, j[, k])`."""
        array = np.asarray(image)
        dims = array.ndim - 1
        affine = np.asarray(image.meta["volume_affine"] if dims == 2 else image.affine, dtype=np.float64)
        array = array[..., None] if dims == 2 else array
        warnings = (image.meta["warnings"],) if image.meta["warnings"] else ()
        geometry = Geometry(array.shape[1:], affine)
        return cls(array, geometry, dims, image.meta["format"], image.meta["modality"], warnings)

    def whole(self, array: Any) -> NDArray[Any]:
        """A tensor `(channel, i, j[, k])` on this grid as an array `(channel, i, j, k)`.

        Raises:
            ValueError: if it lies on another.
        """
        whole: NDArray[Any] = np.asarray(array)
        whole = whole[..., None] if self.spatial_dims == 2 else whole
        if whole.shape[1:] != self.geometry.shape:
            raise ValueError(f"restored to {whole.shape[1:]}, read as {self.geometry.shape}: check the postprocessing")
        return whole

    def shown(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array `(i, j, k)` on this grid as `pictures.Panel` takes it: a picture has two axes."""
        return array[:, :, 0] if self.spatial_dims == 2 else array

    @property
    def brightness(self) -> NDArray[Any]:
        """One number per voxel `(i, j, k)`, to be looked at: the mean colour of a picture, else the first channel."""
        is_colour = self.spatial_dims == 2 and len(self.array) > 1
        seen: NDArray[Any] = self.array.mean(axis=0) if is_colour else self.array[0]
        return seen


def as_volume(image: MetaTensor) -> MetaTensor:
    """A picture `(channel, i, j)` that `LoadImaged` made as a volume of one slice, where it lies in the world."""
    volume = cast(MetaTensor, image.unsqueeze(-1))
    affine = torch.as_tensor(image.meta["volume_affine"])
    volume.meta |= {"spatial_shape": np.array(volume.shape[1:]), "spatial_dims": 3}
    volume.meta |= {"affine": affine, "original_affine": affine.clone()}
    return volume


@dataclass(frozen=True, eq=False)
class Opened:
    """A scan, ready for the network.

    Attributes:
        scan: as it was read.
        image: `(channel, spatial...)` as the bundle's preprocessing made it.
    """

    scan: Scan
    image: MetaTensor

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return int(self.scan.array.nbytes) + self.image.element_size() * self.image.nelement()


@dataclass(frozen=True, eq=False)
class Segmented:
    """A scan and its label map, on one grid.

    Attributes:
        scan: as it was read.
        labels: class values `(i, j, k)`, uint8.
        probabilities: `(i, j, k, class)` float32, the background first; None where nobody asked.
        confidence: the mean probability of what was segmented; None where nothing was.
        doubts: why the case is one to be reviewed, where segmenting it gave reasons.
    """

    scan: Scan
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None = None
    confidence: float | None = None
    doubts: tuple[str, ...] = ()
