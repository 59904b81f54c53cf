"""Which cases a dataset folder holds."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import DatasetError

LAYOUTS = (("images", "labels"), ("imagesTr", "labelsTr"))
EXPECTED = "expected images/ and labels/ (or imagesTr/ and labelsTr/) with one file per case of the same name"
_SUFFIXES = (".nii.gz", ".nii", ".dcm")
# Windows shares leave these beside the images; macOS leaves "._" twins, which are hidden files.
_LITTER = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Case:
    """One subject's image and label on disk; either may be a file or the folder of a DICOM series."""

    name: str
    image: Path
    label: Path | None


def find_cases(dataset_dir: str | os.PathLike[str]) -> list[Case]:
    """The cases of a dataset folder, sorted by name, each with its image and its label.

    An image belongs to the label of the same name; a name is the file's name without `.nii.gz`,
    `.nii` or any other last suffix, or the name of the folder of a DICOM series. Hidden files are
    ignored, and so is everything beside the two folders (the `dataset.json` of the Decathlon too).

    Raises:
        DatasetError: the folder is missing, has neither layout or both, is empty, or an image and
            a label are not there in pairs.
    """
    dataset = Path(dataset_dir)
    image_dir, label_dir = _layout(dataset)
    images, labels = _by_name(image_dir), _by_name(label_dir)
    if not images and not labels:
        raise DatasetError(f"{dataset}: {image_dir.name}/ and {label_dir.name}/ are empty: {EXPECTED}")
    unpaired = [
        *_unpaired("image", image_dir, images, "label", label_dir, labels),
        *_unpaired("label", label_dir, labels, "image", image_dir, images),
    ]
    if unpaired:
        raise DatasetError(f"{'; '.join(unpaired)}: {EXPECTED}")
    return [Case(name, images[name], labels[name]) for name in sorted(images)]


def case_name(path: Path) -> str:
    """The name of the case that a file, or the folder of a DICOM series, belongs to."""
    if path.is_dir():
        return path.name
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def _layout(dataset: Path) -> tuple[Path, Path]:
    if not dataset.is_dir():
        what = "is not a folder" if dataset.exists() else "does not exist"
        raise DatasetError(f"dataset folder {dataset} {what}: {EXPECTED}")
    present = [pair for pair in LAYOUTS if (dataset / pair[0]).is_dir() or (dataset / pair[1]).is_dir()]
    if not present:
        raise DatasetError(f"{dataset} holds {_listing(path.name for path in dataset.iterdir())}: {EXPECTED}")
    if len(present) > 1:
        raise DatasetError(f"{dataset} holds both images/ and imagesTr/ layouts: keep one of them")
    folders = [dataset / name for name in present[0]]
    for folder in folders:
        if not folder.is_dir():
            raise DatasetError(f"{dataset} has no folder {folder.name}/: {EXPECTED}")
    return folders[0], folders[1]


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower() in _LITTER:
            continue
        name = case_name(path)
        if name in found:
            raise DatasetError(f"{folder} holds {found[name].name} and {path.name} for one case: keep one of them")
        found[name] = path
    return found


def _unpaired(
    kind: str, folder: Path, paths: dict[str, Path], other: str, other_folder: Path, others: Collection[str]
) -> list[str]:
    """No text, or one that says how many files of `folder` have no partner, and the first of them."""
    lonely = [path for name, path in paths.items() if name not in others]
    if not lonely:
        return []
    count = "" if len(lonely) == 1 else f" ({len(lonely)} {kind}s have none)"
    return [f"{kind} {folder / lonely[0].name} has no {other} in {other_folder.name}/{count}"]


def _listing(names: Iterable[str], *, limit: int = 5) -> str:
    names = sorted(name for name in names if not name.startswith("."))
    if not names:
        return "nothing"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
