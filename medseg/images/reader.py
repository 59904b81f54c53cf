"""medseg's images in MONAI's `LoadImaged(reader="medseg.images.reader.Reader")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import ImageReader
from numpy.typing import NDArray

from medseg.errors import ImageError
from medseg.images.coding import LabelCoding
from medseg.images.image import Image
from medseg.images.palette import JPEG_TOLERANCE
from medseg.images.read import needs_grid, read_channels, read_geometry, read_image, read_label_parts
from medseg.types import LabelClass


class Reader(ImageReader):
    """A MONAI reader that never guesses: one file format, one way to read it, or an error.

    Several paths are the channels of one image (MRI sequences); a DICOM SEG or RT structure set followed by
    the image it belongs to is a label on that image's grid. MONAI silently tries its other readers when
    `read` raises, so `read` only takes the paths down and `get_data` reads. The array is `(i, j, k)`, with a
    last axis of channels where there are any, of a picture `(i, j, channel)`. The metadata hold the affine
    (index -> RAS+ mm), the format, the modality where the file tells it, what the user should be warned of,
    and nothing that names a patient. A picture's affine is that of its plane, where the plane is an axial one, else
    its pixels' sizes alone; `volume_affine` holds its place in the world.

    Args:
        nan: what NaN and infinity are replaced by; None to refuse an image that holds any.
        rgb: whether a grey picture counts as red, green and blue of one brightness.
        eight_bits: whether only samples of 8 bits are taken, for a preprocessing that divides by 255.

    Raises:
        ImageError: from `get_data`; see `images.read_image`.
    """

    def __init__(self, *, nan: float | None = None, rgb: bool = False, eight_bits: bool = False) -> None:
        super().__init__()
        self._nan = nan
        self._rgb = rgb
        self._eight_bits = eight_bits

    def verify_suffix(self, filename: Any) -> bool:
        """Whether to try this reader: always, content decides and not the name."""
        return True

    def read(self, data: Any, **_options: Any) -> Sequence[str]:
        """Take the paths down."""
        return [data] if isinstance(data, str) or not isinstance(data, Sequence) else list(data)

    def get_data(self, img: Sequence[str]) -> tuple[NDArray[Any], dict[str, Any]]:
        """Read the files and describe them in MONAI's words."""
        image = self._image(img)
        array, affine = image.array, np.array(image.geometry.affine)
        if self._eight_bits and array.dtype != np.uint8:
            raise ImageError(
                f"{image.path}: its samples are {array.dtype}; this bundle takes 8 bits: save it so, from 0 to 255"
            )
        if self._rgb and array.ndim == 3:
            array = np.repeat(array[..., None], 3, axis=3)
        if image.spatial_dims == 2:  # with an axis of channels always: batches are of one kind
            array = (array if array.ndim == 4 else array[..., None])[:, :, 0]
            affine = _within_the_plane(affine)
        channels = array.ndim > image.spatial_dims
        array = np.ascontiguousarray(array)  # as MONAI would, but after making it wider
        return array, {
            "affine": affine,
            "original_affine": affine.copy(),
            "volume_affine": np.array(image.geometry.affine),
            "spatial_shape": np.array(array.shape[: image.spatial_dims]),
            "original_channel_dim": -1 if channels else "no_channel",
            "space": "RAS",
            "modality": image.modality or "",
            "format": image.format,
            "spatial_dims": image.spatial_dims,
            "warnings": "; ".join(image.warnings),
        }

    def _image(self, paths: Sequence[str]) -> Image:
        if len(paths) == 1:
            return read_image(paths[0], nan=self._nan)
        if any(map(needs_grid, paths)):
            return _label(paths)
        return read_channels(list(paths), nan=self._nan)


def _within_the_plane(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    plane: NDArray[np.float64] = affine[np.ix_([0, 1, 3], [0, 1, 3])]
    sizes = np.linalg.norm(affine[:3, :2], axis=0)
    is_axial = np.allclose(np.linalg.norm(plane[:2, :2], axis=0), sizes)
    return plane if is_axial else np.diag([*sizes, 1.0])


class LabelReader(Reader):
    """A `Reader` of labels in which colours or black and white stand for the classes.

    Several paths are parts of one label, such as a file for each lesion; see `images.coding`.

    Args:
        coding: see `LabelCoding.of`.
        tolerance: see `LabelCoding`.
        classes: of the bundle; for the codings `classes` and `names`.

    Raises:
        ConfigError: for an unknown coding.
        ImageError: from `get_data`, naming what in a file is no label of this coding.
    """

    def __init__(
        self,
        coding: str | Mapping[str, Any] = "values",
        *,
        tolerance: float = JPEG_TOLERANCE,
        classes: Sequence[LabelClass] = (),
    ) -> None:
        super().__init__()
        self.coding = LabelCoding.of(coding, classes=classes, tolerance=tolerance)

    def _image(self, paths: Sequence[str]) -> Image:
        return _label(paths, self.coding)


def _label(paths: Sequence[str], coding: LabelCoding | None = None) -> Image:
    """The label that the paths are parts of; the last is the image whose grid it lies on, where one needs that."""
    if len(paths) == 1 or not any(map(needs_grid, paths)):
        return read_label_parts(paths, coding=coding)
    *parts, image = paths
    return read_label_parts(parts, grid=read_geometry(image), coding=coding)
