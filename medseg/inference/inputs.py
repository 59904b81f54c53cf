"""What a user names as input, as the entries of a dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import MetaTensor
from monai.inferers import Inferer

from medseg.bundle.metadata import image_dims, image_format
from medseg.errors import ConfigError, ImageError, on_one_line
from medseg.images import (
    FoundImage,
    NoImageFoundError,
    are_channels,
    case_name,
    find_images,
    find_pages,
    find_twins,
    group_channels,
    image_of_mask,
)

_log = logging.getLogger(__name__)

Entry = dict[str, str | list[str]]


def find_inputs(
    path: str | Sequence[str] | None,
    *,
    metadata: Mapping[str, Any],
    output_dir: str | None = None,
    inferer: Inferer | None = None,
) -> list[Entry]:
    """The entries `{"image": path, "case": name}` of every scan at `path` but masks; see `images.find_images`.

    What should be a scan and is none has its entry too (a file so named, a folder without slices beside series,
    and of several paths one that leads to no scan): reading it tells what is wrong, and the others go on.

    Where the bundle takes several channels, or every file is named `CASE_0000`, nnU-Net's naming holds:
    `CASE_0000`, `CASE_0001`, ... are the channels of `CASE`, and "image" is the list of their paths.

    Where the bundle takes pictures, every page of a TIFF is one.

    Args:
        path: a file or folder, or several; None is an error that tells how to give it.
        metadata: of the bundle, for the number of channels and dimensions.
        output_dir: a folder that is not looked at, though it lie among the scans.
        inferer: of the bundle; see `check_input`.

    Raises:
        ImageError: if nothing was given, nothing that can be read is there, a channel is missing, or two scans
            have one name.
    """
    paths = [path] if isinstance(path, str) else list(path or ())
    if not paths:
        raise ImageError(
            "no input given: use --input with an image file, a DICOM series folder, or a folder of either; "
            "`medseg predict BUNDLE` takes several behind the bundle's name too"
        )
    images = [each for one in paths for each in _images_at(one, alone=len(paths) == 1)]
    if output_dir is not None:
        images = [each for each in images if Path(each.path).resolve() != Path(output_dir).resolve()]
    if image_dims(metadata, inferer) == 2:
        images = [page for each in images for page in _pages(each)]
    twins = find_twins(images)
    if twins is not None:
        raise ImageError(f"{' and '.join(each.path for each in twins)} would give one result; rename one")
    found = {on_one_line(each.name): each.path for each in images}
    channels = image_format(metadata)["num_channels"]
    if not are_channels(list(found)) or (channels == 1 and not all(name.endswith("_0000") for name in found)):
        return [{"image": image, "case": name} for name, image in found.items()]
    grouped = group_channels(found)
    return [{"image": list(paths) if len(paths) > 1 else paths[0], "case": name} for name, paths in grouped.items()]


def named_entries(entries: Sequence[Mapping[str, Any]], needed: Sequence[str]) -> list[Mapping[str, Any]]:
    """The entries of a dataset in the order of their cases; one without a `case` has its image's name.

    Raises:
        ConfigError: if one lacks a path that is needed, or two have one name.
    """
    for entry in entries:
        missing = [key for key in needed if not entry.get(key)]
        if missing:
            raise ConfigError(
                f"dataset::data: an entry has {', '.join(map(str, entry)) or 'nothing'}, and no '{missing[0]}': "
                f"expected {' and '.join(needed)}, each a path, and the case's name where it is not the file's"
            )
    named = [{**entry, "case": str(entry.get("case", _name_of(entry["image"])))} for entry in entries]
    twins = find_twins(FoundImage(entry["case"], str(entry["image"])) for entry in named)
    if twins is not None:
        raise ConfigError(
            f"dataset::data: {' and '.join(each.path for each in twins)} would give one result, '{twins[0].name}'; "
            "give each entry a 'case' of its own"
        )
    return sorted(named, key=lambda entry: entry["case"])


def _name_of(image: str | os.PathLike[str] | Sequence[str]) -> str:
    return case_name(Path(image if isinstance(image, str | os.PathLike) else image[0]))


def _images_at(path: str, *, alone: bool) -> list[FoundImage]:
    try:
        return _without_masks(find_images(path, damaged=True), path)
    except ImageError as error:
        leads_nowhere = isinstance(error, NoImageFoundError) or not os.path.lexists(path)
        if alone or not leads_nowhere:
            raise
        return [FoundImage(case_name(Path(path)), path)]


def _without_masks(found: list[FoundImage], path: str) -> list[FoundImage]:
    """What a folder holds but the masks beside their images, as of a dataset to train on."""
    names = {each.name for each in found}
    kept = [each for each in found if image_of_mask(each.name) not in names]
    if len(kept) < len(found):
        first = next(each for each in found if each not in kept)
        _log.warning(
            f"{first.path}: is left out as the mask of the image beside it, and so are {len(found) - len(kept) - 1} "
            "others; name it by itself to segment it"
        )
    return kept


def _pages(image: FoundImage) -> list[FoundImage]:
    try:
        return find_pages(image)
    except ImageError:  # reading it tells what is wrong
        return [image]


def check_input(
    image: MetaTensor, metadata: Mapping[str, Any], *, inferer: Inferer | None = None, whose: str = "this bundle"
) -> None:
    """Whether a preprocessed image `(channel, spatial...)` is what a bundle's network takes.

    Args:
        inferer: of the bundle; one that cuts slices takes volumes for a network for pictures.
        whose: the bundle, for the message.

    Raises:
        ImageError: if not.
    """
    takes = image_format(metadata)
    found, dims, path = len(image), image.ndim - 1, image.meta["filename_or_obj"]
    expected, its_dims = takes["num_channels"], image_dims(metadata, inferer)
    if its_dims not in (None, dims):
        raise ImageError(f"{path}: has {dims} dimensions; {whose} takes images of {its_dims}")
    if not image.numel():
        raise ImageError(f"{path}: nothing is left of it after the preprocessing of {whose} crops it")
    if found != expected:
        what = ", ".join(takes["channel_def"].values())
        raise ImageError(f"{path}: has {found} channels; {whose} takes {expected}: {what}")
