"""Which cases a dataset folder holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medseg.data.layouts import FoundFiles, files_of, images_without_labels
from medseg.errors import DatasetError

Subset = Literal["training", "test"]


@dataclass(frozen=True)
class Case:
    """One subject's image and label on disk; each may be a file or the folder of a DICOM series.

    Attributes:
        name: unique in its subset.
        images: one path, or one for each channel.
        labels: its files: one, or several parts, as where every lesion has one; none for a test case whose label is
            not given out.
        mask: where results count, such as the field of view of a fundus camera.
        observer: the label by a second human observer.
        subset: `test` for cases that the dataset sets aside.
    """

    name: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    mask: Path | None = None
    observer: Path | None = None
    subset: Subset = "training"


def find_cases(dataset_dir: str | os.PathLike[str]) -> list[Case]:
    """The cases of a dataset folder, sorted by name, each with its image and its label (a `test/` may have none).

    The layouts are those of `layouts.LAYOUTS` (`images/` and `labels/`, perhaps with `masks/` and
    `labels_2nd_observer/`; `imagesTr/` and `labelsTr/`; DRIVE's own), the pages of `NAME-volume.tif` and
    `NAME-labels.tif`, a folder for every case with its channels and its label, and `NAME_mask` beside `NAME` anywhere
    below; a folder may hold one of these, or a `training/` and a `test/` that do.

    An image belongs to the label of the same name; a name is the file's name without `.nii.gz`,
    `.nii` or any other last suffix, or the name of the folder of a DICOM series. Images named
    `CASE_0000`, `CASE_0001`, ... beside labels named `CASE` are channels, as with nnU-Net. Hidden files
    are ignored, and so is everything beside the folders; of `dataset.json` see `dataset_json`.

    Raises:
        DatasetError: the folder is missing, has none of the layouts or two, is empty, or an image and
            a label are not there in pairs.
    """
    dataset = Path(dataset_dir)
    if not (dataset / "training").is_dir():
        return _cases(files_of(dataset), "training")
    training, aside = _cases(files_of(dataset / "training"), "training"), dataset / "test"
    if not aside.is_dir():
        return training
    return [*training, *_cases(images_without_labels(aside) or files_of(aside), "test")]


def _cases(files: FoundFiles, subset: Subset) -> list[Case]:
    missing = sorted(files.images.keys() - files.masks.keys()) if files.masks else []
    if missing:
        raise DatasetError(f"image {files.images[missing[0]][0]} has no mask, and others have: add it")
    return [
        Case(
            name,
            files.images[name],
            files.labels.get(name, ()),
            mask=files.masks.get(name, (None,))[0],
            observer=files.observers.get(name, (None,))[0],
            subset=subset,
        )
        for name in sorted(files.images)
    ]
