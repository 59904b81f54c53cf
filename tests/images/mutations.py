"""Files damaged at random: what `test_fuzz.py` reads for seconds and `scripts/fuzz_images` for as long as one likes."""

from __future__ import annotations

import gzip
import random
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import tifffile
from PIL import Image as Picture

from medseg.errors import ImageError
from medseg.images import Geometry, read_image, write_dicom_seg, write_dicom_series, write_volume
from medseg.types import LabelClass

GRID = Geometry((12, 10, 4), np.diag([-2.0, -2.0, 3.0, 1.0]))
_STRANGE = ["", "0", "-1", "1e400", "nan", "x" * 70, "1\\2\\3\\4\\5\\6", "99999999", "\x00", "ä", None, 0, -1, 2**31]


def seeds(folder: Path) -> list[Path]:
    """One small sound file of each format."""
    voxels = np.random.default_rng(0).integers(0, 900, GRID.shape).astype(np.int16)
    grey = voxels[:, :, 0].astype(np.uint8)
    write_dicom_series(folder / "series", voxels, GRID, modality="CT")
    write_dicom_seg(
        folder / "seg.dcm",
        (voxels > 400).astype(np.uint8),
        source=folder / "series",
        classes=[LabelClass(1, "a")],
        algorithm_name="a",
        algorithm_version="1",
    )
    (folder / "series" / "002.dcm").rename(folder / "slice.dcm")
    for suffix in ("nii", "nii.gz", "nrrd", "mha"):
        write_volume(folder / f"a.{suffix}", voxels, GRID)
    for suffix in ("png", "jpg", "bmp", "gif"):
        Picture.fromarray(grey).save(folder / f"a.{suffix}")
    tifffile.imwrite(folder / "a.tif", voxels.astype(np.uint16), photometric="minisblack")
    nib.save(nib.Nifti2Image(voxels, GRID.affine), folder / "b.nii")
    return sorted(path for path in folder.iterdir() if path.is_file())


def damaged(seed: Path, generator: random.Random) -> bytes:
    """The content of a sound file, damaged in one way."""
    content = seed.read_bytes()
    if seed.suffix == ".dcm" and generator.random() < 0.5:
        return _strange_elements(seed, generator) or content
    if seed.suffix == ".gz" and generator.random() < 0.5:  # behind the checksum
        return gzip.compress(generator.choice(_WAYS)(gzip.decompress(content), generator))
    return generator.choice(_WAYS)(content, generator)


def _flipped(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 8))):
        changed[_place(len(changed), generator)] = generator.choice((0, 1, 255, generator.randrange(256)))
    return bytes(changed)


def _cut(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content))]


def _inserted(content: bytes, generator: random.Random) -> bytes:
    at = _place(len(content), generator)
    return content[:at] + generator.randbytes(generator.choice((1, 2, 100))) + content[at:]


def _zeroed(content: bytes, generator: random.Random) -> bytes:
    at, length = _place(len(content), generator), generator.choice((2, 8, 100))
    return content[:at] + bytes(len(content[at : at + length])) + content[at + length :]


def _place(length: int, generator: random.Random) -> int:
    """Mostly in the header: there the damage is that matters."""
    return generator.randrange(min(length, generator.choice((400, 2000, length))))


_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flipped, _cut, _inserted, _zeroed)


def _strange_elements(seed: Path, generator: random.Random) -> bytes | None:
    """A DICOM file without some element, or with a strange value in it."""
    dataset: Any = pydicom.dcmread(seed)
    element = generator.choice([each for each in dataset.iterall() if each.keyword != "PixelData"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom says what is strange about it
            if element.tag in dataset and generator.random() < 0.4:
                del dataset[element.tag]
            else:
                element.value = generator.choice(_STRANGE)
            written = BytesIO()
            dataset.save_as(written)
    except Exception:  # what pydicom refuses to write
        return None
    return written.getvalue()


def check(path: Path) -> str:
    """Read a damaged file: "refused" by one line, or "read" as an image that holds together.

    Raises:
        AssertionError: if it is neither.
    """
    try:
        image = read_image(path)
    except ImageError as error:
        assert str(error).startswith(str(path.parent)), error
        assert "\n" not in str(error), error
        return "refused"
    assert image.array.shape[:3] == image.geometry.shape
    assert min(image.geometry.spacing) > 0 and np.isfinite(image.geometry.affine).all()
    assert image.array.dtype.kind in "iu" or np.isfinite(image.array).all()
    return "read"


def fuzz(folder: Path, seed: int) -> Iterator[tuple[Path, str]]:
    """Damaged files without end, each with what became of it."""
    generator = random.Random(seed)
    sound = seeds(folder / "sound")
    while True:
        for each in sound:
            path = folder / f"damaged{''.join(each.suffixes)}"
            path.write_bytes(damaged(each, generator))
            yield path, check(path)
