"""Which images a file or folder holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import ImageError
from medseg.images.dicom import dicom_files, is_dicom
from medseg.images.read import EXPECTED, is_image, split_series

_SUFFIXES = (".nii.gz", ".nii", ".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".png", ".jpg", ".jpeg")
_SUFFIXES += (".tif", ".tiff", ".bmp", ".gif")


@dataclass(frozen=True)
class FoundImage:
    """An image that is there: the case's name, and what `read_image` takes."""

    name: str
    path: str


def find_images(path: str | os.PathLike[str]) -> list[FoundImage]:
    """The images at a path, sorted by name.

    A file is itself; a folder with DICOM files directly in it is one series; another folder gives its
    image files and its subfolders that hold DICOM files. Hidden files are ignored.

    Raises:
        ImageError: if there are none, or two have one name.
    """
    place, series = split_series(path)
    if place.is_file() or series is not None:
        return [FoundImage(case_name(place), str(path))]
    try:
        found = [FoundImage(case_name(each), str(each)) for each in _images_in(place)]
    except OSError as error:
        raise ImageError(f"{error.filename}: cannot be read ({error.strerror}); ask its owner for permission") from error
    if not found:
        raise ImageError(f"{place}: no image in it; {EXPECTED}, or a folder of these")
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise ImageError(f"{place}: two images are named '{name}'; rename one, their results would be one file")
    return sorted(found, key=lambda each: each.name)


def case_name(path: Path) -> str:
    """The name of the case that a file, or the folder of a DICOM series, belongs to."""
    if path.is_dir():
        return path.resolve().name
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def _images_in(folder: Path) -> list[Path]:
    inside = [each for each in folder.iterdir() if not each.name.startswith(".")]
    if any(each.is_file() and is_dicom(each) for each in inside):
        return [folder]
    return [each for each in inside if (dicom_files(each) if each.is_dir() else is_image(each))]
