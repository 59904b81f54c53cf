"""Pictures out: PNG, and TIFF for volumes and floats; labels in the colours of their classes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import OutputError
from medseg.files import replacing
from medseg.images.embedded_note import Note, label_note
from medseg.images.geometry import Geometry
from medseg.images.picture import label_colours
from medseg.images.tiff import NOTE_LINE
from medseg.images.values import storable
from medseg.types import LabelClass

_PNG_HEADER = 33  # bytes of signature and IHDR: what a file of the format starts with


def write_raster(
    path: Path | str, array: NDArray[Any], geometry: Geometry, *, classes: Sequence[LabelClass] = ()
) -> None:
    """Write voxels `(i, j, k[, channel])`: i becomes the column, j the row, k the page; compressed.

    PNG holds one page of uint8 or uint16, grey, RGB or RGBA; TIFF everything. With `classes`, values up to 255
    are drawn in the classes' colours through a palette and stay label values for medseg; a value without
    a colour gets one. Other programs see spacing but no place; a note in the file keeps the grid for medseg.

    Raises:
        OutputError: if the format cannot hold it, or the file cannot be written.
    """
    path, array = Path(path), storable(array)
    note = label_note(classes, geometry) if classes else Note(grid=geometry)
    if path.suffix.lower() == ".png":
        content = _png(path, array, geometry, note)
        with replacing(path) as beside:
            beside.write_bytes(content)
    else:
        _write_tiff(path, array, geometry, note)


def _png(path: Path, array: NDArray[Any], geometry: Geometry, note: Note) -> bytes:
    if array.shape[2] > 1:
        raise OutputError(f"{path}: PNG holds one slice, not {array.shape[2]}; write .tif or .nii.gz")
    if array.dtype not in (np.uint8, np.uint16) or (array.ndim == 4 and array.shape[3] not in (3, 4)):
        kind = f"{array.dtype} in {array.shape[3]} channels" if array.ndim == 4 else str(array.dtype)
        raise OutputError(
            f"{path}: PNG holds uint8 and uint16 in 1, 3 or 4 channels, not {kind}; write .tif or .nii.gz"
        )
    pixels = array[:, :, 0].swapaxes(0, 1).copy()  # a copy has plain strides, which encoders insist on
    content = _encoded(pixels, note)
    x, y, _ = geometry.spacing
    per_metre = [min(round(1000 / each), 2**31 - 1) for each in (x, y)]
    chunks = _chunk(b"tEXt", b"medseg\0" + note.to_text().encode("ascii"))
    if (x, y) != (1.0, 1.0):
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
    return content[:_PNG_HEADER] + chunks + content[_PNG_HEADER:]


def _encoded(pixels: NDArray[Any], note: Note) -> bytes:
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        import imagecodecs

        return bytes(imagecodecs.png_encode(pixels))
    from PIL import Image as Pillow

    image = Pillow.fromarray(pixels)
    if note.is_label and pixels.dtype == np.uint8 and pixels.ndim == 2:
        image.putpalette(label_colours(note.classes).ravel().tolist())  # makes it a picture with a palette
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file: length, kind, content, sum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _write_tiff(path: Path, array: NDArray[Any], geometry: Geometry, note: Note) -> None:
    import tifffile

    pages = np.moveaxis(array, (0, 1, 2), (2, 1, 0))
    x, y, z = geometry.spacing
    options: dict[str, Any] = {"photometric": "minisblack"}
    if array.ndim == 4:
        options = {"photometric": "rgb" if array.shape[3] in (3, 4) and array.dtype.kind == "u" else "minisblack"}
        options["planarconfig"] = "contig"
        if options["photometric"] == "rgb" and array.shape[3] == 4:
            options["extrasamples"] = ["unassalpha"]
    elif note.is_label and array.dtype == np.uint8:
        options = {"photometric": "palette", "colormap": label_colours(note.classes).T.astype(np.uint16) * 257}
    lines = [NOTE_LINE + note.to_text()]
    if len(pages) > 1 and array.ndim == 3:  # what ImageJ and Fiji need for the distance of pages
        lines = ["ImageJ=1.54f", f"images={len(pages)}", f"slices={len(pages)}", "unit=cm", f"spacing={z / 10}", *lines]
    with replacing(path) as beside:
        tifffile.imwrite(
            beside,
            pages if len(pages) > 1 else pages[0],
            compression="zlib",
            resolution=(10 / x, 10 / y),
            resolutionunit="CENTIMETER",
            description="\n".join(lines) + "\n",
            metadata=None,
            software="medseg",
            **options,
        )
