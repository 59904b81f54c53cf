"""One page of a TIFF as a picture of its own: `PATH::PAGE`, counted from 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medseg.errors import ImageError
from medseg.images.geometry import Geometry
from medseg.images.image import Image


def page_of(image: Image, page: str) -> Image:
    """A page of an image as a picture `(i, j, 1)`.

    Raises:
        ImageError: if there is no such page.
    """
    grid = page_grid(image.geometry, page, image.path)
    index = int(page) - 1
    return replace(
        image,
        array=image.array[:, :, index : index + 1],
        geometry=grid,
        path=Path(f"{image.path}::{page}"),
        spatial_dims=2,
    )


def page_grid(grid: Geometry, page: str, path: Path) -> Geometry:
    """The grid of a page in a file of this grid: all have one place, as pictures do.

    Raises:
        ImageError: if there is no such page.
    """
    columns, rows, count = grid.shape
    if not page.isdecimal() or not 1 <= int(page) <= count:
        raise ImageError(f"{path}: no page '{page}' in it; take a number from 1 to {count}")
    return Geometry((columns, rows, 1), grid.affine)
