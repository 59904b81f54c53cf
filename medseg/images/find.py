"""Which images a file or folder holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import ImageError
from medseg.images.dicom import dicom_files, is_dicom
from medseg.images.raster import may_have_pages
from medseg.images.read import EXPECTED, is_image, read_geometry, split_series

_SUFFIXES = (
    *(".nii.gz", ".nii", ".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd"),
    *(".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif"),
)
# Windows shares leave these beside the images; macOS leaves "._" twins, which are hidden files.
_LITTER = ("thumbs.db", "desktop.ini")
_MASK = re.compile(r"_mask(_\d+)?$", re.IGNORECASE)
_DATA_OF = {".img": (".hdr",), ".raw": (".mhd", ".nhdr"), ".zraw": (".mhd",)}


@dataclass(frozen=True)
class FoundImage:
    """An image that is there: the case's name, and what `read_image` takes."""

    name: str
    path: str


class NoImageFoundError(ImageError):
    """A folder that holds no image."""


def find_images(path: str | os.PathLike[str], *, damaged: bool = False) -> list[FoundImage]:
    """The images at a path, sorted by name.

    A file is itself; a folder with DICOM files directly in it is one series; of `FOLDER::SERIES` the name is
    `FOLDER_SERIES`; another folder gives its image files and its subfolders that hold DICOM files. Hidden files are
    ignored.

    Args:
        path: of a file or folder.
        damaged: whether to give what should be an image too, but is none: a file so named, a folder without
            slices beside folders with some. Reading it tells what is wrong.

    Raises:
        NoImageFoundError: if there are none.
        ImageError: if two have one name, or the folder cannot be read.
    """
    place, series = split_series(path)
    if series is not None:
        return [FoundImage(re.sub(r"[^\w.-]", "_", f"{case_name(place)}_{series}"), str(path))]
    if place.is_file():
        return [FoundImage(case_name(place), str(path))]
    try:
        found = [FoundImage(case_name(each), str(each)) for each in _images_in(place, damaged)]
    except OSError as error:
        raise ImageError(
            f"{error.filename}: cannot be read ({error.strerror}); ask its owner for permission"
        ) from error
    if not found:
        inside = [each.name for each in visible_files(place) if each.is_dir() and _images_in(each, damaged)]
        hint = f"but in {', '.join(inside[:5])}: name one of these" if inside else f"{EXPECTED}, or a folder of these"
        raise NoImageFoundError(f"{place}: no image in it; {hint}")
    twins = find_twins(found)
    if twins is not None:
        names = " and ".join(Path(each.path).name for each in twins)
        raise ImageError(f"{place}: {names} would give one result; rename one")
    return sorted(found, key=lambda each: each.name)


def find_pages(image: FoundImage) -> list[FoundImage]:
    """Every page of a TIFF that holds several, `NAME_01` and so on; any other image itself.

    Raises:
        ImageError: if the TIFF is damaged.
    """
    place, part = split_series(image.path)
    count = read_geometry(place).shape[2] if part is None and place.is_file() and may_have_pages(place) else 1
    if count == 1:
        return [image]
    digits = len(str(count))
    return [FoundImage(f"{image.name}_{page:0{digits}d}", f"{image.path}::{page}") for page in range(1, count + 1)]


def image_of_mask(name: str) -> str | None:
    """The name of the image beside which a file of such a name is the mask, `NAME_mask` or `NAME_mask_1`; else None."""
    return _MASK.sub("", name) if _MASK.search(name) else None


def files_at(path: str | os.PathLike[str]) -> list[Path]:
    """The files that an image's path leads to, sorted: itself, or those of a folder and below it but hidden ones.

    Raises:
        ImageError: if the path does not exist.
    """
    place, _ = split_series(path)
    if not place.is_dir():
        return [place]
    return sorted(file for file in place.rglob("*") if file.is_file() and not file.name.startswith("."))


def find_twins(images: Iterable[FoundImage]) -> tuple[FoundImage, FoundImage] | None:
    """The first two images of one name, if there are any: Windows and macOS take Scan and scan for one file."""
    seen: dict[str, FoundImage] = {}
    for each in images:
        twin = seen.setdefault(each.name.casefold(), each)
        if twin is not each:
            return twin, each
    return None


def case_name(path: Path) -> str:
    """The name of the case that a file, or the folder of a DICOM series, belongs to."""
    if path.is_dir():
        return path.name if path.name not in ("", "..") else path.resolve().name
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def has_image_suffix(path: Path) -> bool:
    """Whether a file is named as images are: a table or a text is not."""
    return path.name.lower().endswith(_SUFFIXES)


def visible_files(folder: Path) -> list[Path]:
    """What a person sees in a folder, sorted: no hidden file, no litter, no data file beside its header."""
    names = {each.name: each for each in sorted(folder.iterdir()) if not each.name.startswith(".")}
    return [
        path
        for name, path in names.items()
        if name.lower() not in _LITTER
        and not any(path.stem + header in names for header in _DATA_OF.get(path.suffix.lower(), ()))
    ]


def _images_in(folder: Path, damaged: bool) -> list[Path]:
    inside = visible_files(folder)
    if any(each.is_file() and is_dicom(each) for each in inside):
        return [folder]
    images = {each: bool(dicom_files(each)) if each.is_dir() else is_image(each) for each in inside}
    series = any(image and each.is_dir() for each, image in images.items())
    meant = {each: series if each.is_dir() else has_image_suffix(each) for each in inside}
    return [each for each, image in images.items() if image or (damaged and meant[each])]
