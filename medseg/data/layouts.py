"""The folder layouts of datasets: which files are images, labels, masks, and whose."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from unicodedata import normalize

from medseg.errors import DatasetError, ImageError
from medseg.images import (
    FoundImage,
    are_channels,
    case_name,
    find_pages,
    group_channels,
    has_image_suffix,
    image_of_mask,
    visible_files,
)

EXPECTED = (
    "expected images/ and labels/ (or imagesTr/ and labelsTr/) with one file per case of the same name, "
    "pages in NAME-volume.tif and NAME-labels.tif, NAME_mask beside every NAME, or a folder for every case, with its "
    "label in a file NAME_seg or segmentation or in masks in segmentations/; or folders training/ and test/ with one "
    "of these"
)
_NUMBER = re.compile(r"\d+")
_PART = re.compile(r"_\d+$")
_LABEL_OF_A_CASE = re.compile(r"(.*[_-])?(seg|segmentation|label)", re.IGNORECASE)
STRUCTURES = "segmentations"  # folder of masks, as TotalSegmentator has it
_VOLUME, _LABELS = "-volume", "-labels"  # before the suffix

Files = dict[str, tuple[Path, ...]]  # of each case, by its name


def _leading_number(path: Path) -> str:
    found = _NUMBER.match(path.name)
    return found.group() if found else case_name(path)


@dataclass(frozen=True)
class FolderLayout:
    """A folder for each kind of file; the files of one case have one name.

    Attributes:
        images: folder of the images.
        labels: folder of the labels.
        masks: folder of masks of where results count.
        observers: folder of the labels by a second observer.
        name: a file's case.
    """

    images: str
    labels: str
    masks: str | None = None
    observers: str | None = None
    name: Callable[[Path], str] = case_name


LAYOUTS = (
    FolderLayout("images", "1st_manual", "mask", "2nd_manual", _leading_number),  # DRIVE as it is published
    FolderLayout("images", "labels", "masks", "labels_2nd_observer"),
    FolderLayout("imagesTr", "labelsTr"),  # Medical Segmentation Decathlon, nnU-Net
)


@dataclass(frozen=True)
class FoundFiles:
    """What a dataset folder holds, each kind by the name of the case."""

    images: Files
    labels: Files
    masks: Files = field(default_factory=dict)
    observers: Files = field(default_factory=dict)


def files_of(dataset: Path) -> FoundFiles:
    """The files of a dataset folder in whichever layout it has; every image has a label and the reverse.

    Raises:
        DatasetError: the folder is missing, has no known layout or two, is empty, or an image and a label
            are not there in pairs.
    """
    if not dataset.is_dir():
        what = "is not a folder" if dataset.exists() else "does not exist"
        raise DatasetError(f"dataset folder {dataset} {what}: {EXPECTED}")
    layout = _layout(dataset)
    if layout:
        return _in_folders(dataset, layout)
    return _pages(dataset) or _a_folder_each(dataset) or _side_by_side(dataset)


def images_without_labels(dataset: Path) -> FoundFiles | None:
    """The images of a folder that is given out without any labels, as DRIVE's `test/` is; None where it is not.

    Raises:
        DatasetError: if two images have one name.
    """
    folders = [each.images for each in LAYOUTS if (dataset / each.images).is_dir()]
    if not folders or any((dataset / each.labels).is_dir() for each in LAYOUTS):
        return None
    return FoundFiles(_by_name(dataset / folders[0], case_name), {})


def _layout(dataset: Path) -> FolderLayout | None:
    """The layout of which both folders are there, None where labels stand beside their images."""
    complete = [each for each in LAYOUTS if (dataset / each.images).is_dir() and (dataset / each.labels).is_dir()]
    begun = {
        each.images
        for each in LAYOUTS[1:]
        if (dataset / each.images).is_dir() or (dataset / each.labels).is_dir()
    }  # fmt: skip
    if len(begun) > 1:
        raise DatasetError(f"{dataset} holds both images/ and imagesTr/ layouts: keep one of them")
    if complete:
        return complete[0]
    for each in LAYOUTS[1:]:
        for there, missing in ((each.images, each.labels), (each.labels, each.images)):
            if (dataset / there).is_dir():
                raise DatasetError(f"{dataset} has no folder {missing}/: {EXPECTED}")
    return None


def _in_folders(dataset: Path, layout: FolderLayout) -> FoundFiles:
    image_dir, label_dir = dataset / layout.images, dataset / layout.labels
    labels = _by_name(label_dir, layout.name)
    images = _channels(_by_name(image_dir, layout.name), labels)
    if not images and not labels:
        raise DatasetError(f"{dataset}: {image_dir.name}/ and {label_dir.name}/ are empty: {EXPECTED}")
    labels = _joined(labels, images)
    unpaired = [
        *_unpaired("image", images, "label", label_dir, labels),
        *_unpaired("label", labels, "image", image_dir, images),
    ]
    if unpaired:
        raise DatasetError(f"{'; '.join(unpaired)}: {EXPECTED}")
    others = [
        _by_name(dataset / folder, layout.name) if folder and (dataset / folder).is_dir() else {}
        for folder in (layout.masks, layout.observers)
    ]
    return FoundFiles(images, labels, *others)


def _pages(dataset: Path) -> FoundFiles | None:
    """The pages of `NAME-volume.tif` and `NAME-labels.tif`, as ISBI 2012 has them; None without such a pair.

    A volume without labels, as that of a challenge's test, is left out.
    """
    found = FoundFiles({}, {})
    for volume in sorted(path for path in dataset.glob(f"*{_VOLUME}.tif*") if not path.name.startswith(".")):
        label, name = volume.with_name(volume.name.replace(_VOLUME, _LABELS)), volume.stem.removesuffix(_VOLUME)
        if label.is_file():
            images, labels = _pages_of(volume, name), _pages_of(label, name)
            if len(images) != len(labels):
                raise DatasetError(f"{label} has {len(labels)} pages and {volume} has {len(images)}: fetch them again")
            found.images.update(images)
            found.labels.update(labels)
    return found if found.images else None


def _pages_of(file: Path, name: str) -> Files:
    try:
        return {each.name: (Path(each.path),) for each in find_pages(FoundImage(name, str(file)))}
    except ImageError as error:
        raise DatasetError(str(error)) from error


def _a_folder_each(dataset: Path) -> FoundFiles | None:
    """A folder for every case: its channels, and its label in one file or in one per structure; None where none is so.

    As BraTS (`X/X_t1.nii.gz`, ..., `X/X_seg.nii.gz`), KiTS (`X/imaging.nii.gz`, `X/segmentation.nii.gz`) and
    TotalSegmentator (`X/ct.nii.gz`, `X/segmentations/liver.nii.gz`, ...) are published. The channels are in the
    order of their names.
    """
    found = FoundFiles({}, {})
    of_first: list[str] = []
    folders = [each for each in sorted(dataset.iterdir()) if each.is_dir() and not each.name.startswith(".")]
    for folder in folders:
        files = {case_name(path): path for path in visible_files(folder) if path.is_file() and has_image_suffix(path)}
        masks = folder / STRUCTURES
        labels = {name: path for name, path in files.items() if _LABEL_OF_A_CASE.fullmatch(name)}
        parts = tuple(filter(has_image_suffix, visible_files(masks))) if masks.is_dir() else tuple(labels.values())
        images = {name.removeprefix(folder.name): path for name, path in files.items() if name not in labels}
        if not images or not parts or (len(parts) > 1 and not masks.is_dir()):
            if found.images:
                raise DatasetError(
                    f"{folder}: no image with its label, and the folders before it have both: {EXPECTED}"
                )
            return None
        of_first = of_first or sorted(images)
        if sorted(images) != of_first:
            raise DatasetError(f"{folder}: holds {', '.join(sorted(images))}; other cases have {', '.join(of_first)}")
        found.images[folder.name] = tuple(images[name] for name in of_first)
        found.labels[folder.name] = parts
    return found if found.images else None


def _side_by_side(dataset: Path) -> FoundFiles:
    """`NAME.tif` and `NAME_mask.tif` anywhere below, as nerve ultrasound, LGG and BUSI have them."""
    named: Files = {}
    for path in sorted(dataset.rglob("*")):
        if not path.name.startswith(".") and path.is_file() and has_image_suffix(path):
            named[case_name(path)] = (*named.get(case_name(path), ()), path)
    images = {name: paths for name, paths in named.items() if image_of_mask(name) is None}
    labels: Files = {}
    for name in named.keys() - images.keys():
        of = image_of_mask(name) or ""
        labels[of] = tuple(sorted((*labels.get(of, ()), *named[name])))
    if not labels:
        raise DatasetError(f"{dataset} holds {_listing(path.name for path in dataset.iterdir())}: {EXPECTED}")
    for one, *others in named.values():
        if others:
            raise DatasetError(f"{dataset} holds {one} and {others[0]} for one case: rename one of them")
    # A picture of another kind beside the images is no case.
    paired = chain(*labels.values(), *(images[name] for name in labels if name in images))
    suffixes = {path.suffix for path in paired}
    found = {name: paths for name, paths in images.items() if paths[0].suffix in suffixes}
    unpaired = [
        *_unpaired("image", found, "mask", dataset, labels),
        *_unpaired("mask", labels, "image", dataset, found),
    ]
    if unpaired:
        raise DatasetError(f"{'; '.join(unpaired)}: {EXPECTED}")
    return FoundFiles(found, labels)


def _by_name(folder: Path, name_of: Callable[[Path], str]) -> Files:
    found: Files = {}
    for path in visible_files(folder):
        name = name_of(path)
        if name in found:
            raise DatasetError(f"{folder} holds {found[name][0].name} and {path.name} for one case: keep one of them")
        found[name] = (path,)
    return found


def _channels(images: Files, labels: Files) -> Files:
    if are_channels(list(images)) and not images.keys() & set(labels):
        try:
            return group_channels({name: paths[0] for name, paths in images.items()})
        except ImageError as error:
            raise DatasetError(str(error)) from error
    return images


def _joined(labels: Files, images: Collection[str]) -> Files:
    """`NAME_1` beside `NAME` is one more part of that label, as every lesion of BUSI has a file.

    Not where images are so named: there the label's own is missing.
    """
    joined: Files = {}
    numbered = {_PART.sub("", name) for name in images if _PART.search(name)}
    for name, paths in sorted(labels.items()):
        whole = _PART.sub("", name)
        of = whole if whole not in numbered and whole in images and whole in labels else name
        joined[of] = (*joined.get(of, ()), *paths)
    return joined


def _unpaired(
    kind: str, paths: Mapping[str, tuple[Path, ...]], other: str, other_folder: Path, others: Collection[str]
) -> list[str]:
    """No text, or one that says how many files have no partner, and the first of them."""
    lonely = {name: path[0] for name, path in paths.items() if name not in others}
    if not lonely:
        return []
    first = next(iter(lonely))
    near = next((each for each in others if _nearly(first, each)), None)
    hint = f" (there is '{near}': names must agree to the letter)" if near else ""
    count = "" if len(lonely) == 1 else f" ({len(lonely)} {kind}s have none)"
    return [f"{kind} {lonely[first]} has no {other} in {other_folder.name}/{hint}{count}"]


def _nearly(name: str, other: str) -> bool:
    """Whether a person takes two names for one: `P0` and `p0`, `p0` and `p0_segmentation`."""
    short, long = sorted((normalize("NFC", each).casefold() for each in (name, other)), key=len)  # macOS has NFD
    rest = long.removeprefix(short)
    return rest == "" or (rest != long and not rest[0].isalnum() and rest[1:2].isalpha())


def _listing(names: Iterable[str], *, limit: int = 5) -> str:
    names = sorted(name for name in names if not name.startswith("."))
    if not names:
        return "nothing"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
