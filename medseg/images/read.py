"""The one door for images: what a path holds is decided by its content."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import ImageError
from medseg.images.dicom import dicom_files, is_dicom, read_series, read_voxels
from medseg.images.geometry import Geometry
from medseg.images.image import Image
from medseg.images.nifti import is_nifti, read_nifti, read_nifti_geometry

_EXPECTED = "expected a NIfTI file or a DICOM series"


@dataclass(frozen=True)
class FoundImage:
    """An image that is there: the case's name, and the file or the folder of a series."""

    name: str
    path: Path


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a NIfTI file, a DICOM series folder, or one file of a series that has no other.

    Raises:
        ImageError: naming the file, what is wrong with it, and what to do.
    """
    path = _existing(path)
    if path.is_dir() or is_dicom(path):
        series = read_series(path)
        return Image(read_voxels(series), series.geometry, path, "DICOM", series.files, series.modality)
    if is_nifti(path) or path.name.endswith((".nii", ".nii.gz")):
        array, geometry = read_nifti(path)
        return Image(array, geometry, path, "NIfTI", (path,))
    raise ImageError(f"{path}: neither NIfTI nor DICOM; {_EXPECTED}")


def read_geometry(path: str | os.PathLike[str]) -> Geometry:
    """The grid of an image, from headers alone.

    Raises:
        ImageError: as `read_image`.
    """
    path = _existing(path)
    if path.is_dir() or is_dicom(path):
        return read_series(path).geometry
    if is_nifti(path) or path.name.endswith((".nii", ".nii.gz")):
        return read_nifti_geometry(path)
    raise ImageError(f"{path}: neither NIfTI nor DICOM; {_EXPECTED}")


def find_images(path: str | os.PathLike[str]) -> list[FoundImage]:
    """The images at a path, sorted by name.

    A NIfTI file is itself; a folder that holds DICOM files is one series; else a folder gives its NIfTI
    files and those of its subfolders that hold DICOM files. Hidden files are ignored.

    Raises:
        ImageError: if there are none, or two have one name.
    """
    path = _existing(path)
    if path.is_file():
        return [FoundImage(_name(path), path)]
    if dicom_files(path):
        return [FoundImage(path.resolve().name, path)]
    try:
        inside = [each for each in sorted(path.iterdir()) if not each.name.startswith(".")]
        images = [each for each in inside if (dicom_files(each) if each.is_dir() else is_nifti(each))]
    except OSError as error:
        raise ImageError(f"{error.filename}: cannot be read ({error.strerror}); {_EXPECTED}") from error
    if not images:
        raise ImageError(f"{path}: no image in it; {_EXPECTED}, or a folder of either")
    found = [FoundImage(_name(each), each) for each in images]
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise ImageError(f"{path}: two images are named '{name}'; rename one, their results would be one file")
    return sorted(found, key=lambda each: each.name)


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: does not exist; {_EXPECTED}")
    if not os.access(path, os.R_OK):
        raise ImageError(f"{path}: may not be read; ask its owner for permission")
    return path


def _name(path: Path) -> str:
    if path.is_dir():
        return path.name
    return path.name.removesuffix(".gz").removesuffix(".nii") if ".nii" in path.name else path.stem
