"""Which cases a dataset folder holds."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import DatasetError, ImageError
from medseg.images import are_channels, case_name, group_channels, visible_files

LAYOUTS = (("images", "labels"), ("imagesTr", "labelsTr"))
EXPECTED = "expected images/ and labels/ (or imagesTr/ and labelsTr/) with one file per case of the same name"


@dataclass(frozen=True)
class Case:
    """One subject's image and label on disk; each may be a file or the folder of a DICOM series.

    `images` holds one path, or one for each channel.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None


def find_cases(dataset_dir: str | os.PathLike[str]) -> list[Case]:
    """The cases of a dataset folder, sorted by name, each with its image and its label.

    An image belongs to the label of the same name; a name is the file's name without `.nii.gz`,
    `.nii` or any other last suffix, or the name of the folder of a DICOM series. Images named
    `CASE_0000`, `CASE_0001`, ... beside labels named `CASE` are channels, as with nnU-Net. Hidden files
    are ignored, and so is everything beside the two folders (the `dataset.json` of the Decathlon too).

    Raises:
        DatasetError: the folder is missing, has neither layout or both, is empty, or an image and
            a label are not there in pairs.
    """
    dataset = Path(dataset_dir)
    image_dir, label_dir = _layout(dataset)
    labels = _by_name(label_dir)
    images = _channels(_by_name(image_dir), labels)
    if not images and not labels:
        raise DatasetError(f"{dataset}: {image_dir.name}/ and {label_dir.name}/ are empty: {EXPECTED}")
    unpaired = [
        *_unpaired("image", {name: paths[0] for name, paths in images.items()}, "label", label_dir, labels),
        *_unpaired("label", labels, "image", image_dir, images),
    ]
    if unpaired:
        raise DatasetError(f"{'; '.join(unpaired)}: {EXPECTED}")
    return [Case(name, images[name], labels[name]) for name in sorted(images)]


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
    for path in visible_files(folder):
        name = case_name(path)
        if name in found:
            raise DatasetError(f"{folder} holds {found[name].name} and {path.name} for one case: keep one of them")
        found[name] = path
    return found


def _channels(images: dict[str, Path], labels: Collection[str]) -> dict[str, tuple[Path, ...]]:
    if are_channels(list(images)) and not images.keys() & set(labels):
        try:
            return group_channels(images)
        except ImageError as error:
            raise DatasetError(str(error)) from error
    return {name: (path,) for name, path in images.items()}


def _unpaired(
    kind: str, paths: Mapping[str, Path], other: str, other_folder: Path, others: Collection[str]
) -> list[str]:
    """No text, or one that says how many files have no partner, and the first of them."""
    lonely = [path for name, path in paths.items() if name not in others]
    if not lonely:
        return []
    count = "" if len(lonely) == 1 else f" ({len(lonely)} {kind}s have none)"
    return [f"{kind} {lonely[0]} has no {other} in {other_folder.name}/{count}"]


def _listing(names: Iterable[str], *, limit: int = 5) -> str:
    names = sorted(name for name in names if not name.startswith("."))
    if not names:
        return "nothing"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
