"""medseg's images in MONAI's `LoadImaged(reader="medseg.images.reader.Reader")`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.data import ImageReader
from numpy.typing import NDArray

from medseg.images.read import read_image


class Reader(ImageReader):
    """A MONAI reader that never guesses: one file format, one way to read it, or an error.

    MONAI silently tries its other readers when `read` raises, so `read` only takes the paths down and
    `get_data` reads. The array is `(i, j, k)`; the metadata holds the affine (index -> RAS+ mm) and the
    modality where the file tells it, and nothing that names a patient.

    Raises:
        ImageError: from `get_data`; see `images.read_image`.
    """

    def verify_suffix(self, filename: Any) -> bool:
        """Whether to try this reader: always, content decides and not the name."""
        return True

    def read(self, data: Any, **_options: Any) -> Sequence[str]:
        """Take the paths down."""
        return [data] if isinstance(data, str) or not isinstance(data, Sequence) else list(data)

    def get_data(self, img: Sequence[str]) -> tuple[NDArray[Any], dict[str, Any]]:
        """Read the file and describe it in MONAI's words."""
        (path,) = img
        image = read_image(path)
        affine = np.array(image.geometry.affine)
        return np.asarray(image.array), {
            "affine": affine,
            "original_affine": affine.copy(),
            "spatial_shape": np.array(image.geometry.shape),
            "original_channel_dim": "no_channel",
            "space": "RAS",
            "modality": image.modality or "",
        }
