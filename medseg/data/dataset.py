"""A dataset as a bundle's config takes it: checked, split, ready for a `monai.data.Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle.metadata import class_names
from medseg.data.check import check_cases
from medseg.data.datalist import Case, find_cases
from medseg.data.fingerprint import fingerprint
from medseg.data.folds import split
from medseg.errors import DatasetError
from medseg.images import needs_grid

Entry = dict[str, str | list[str]]


@dataclass(frozen=True)
class Split:
    """The entries `{"image": path, "label": path, "case": name}` of a fold, and facts to track it by.

    An image of several channels is a list of paths, and so is a label that is drawn on its image's grid
    (DICOM SEG, RT structure set): itself and the image. `images.reader.Reader` takes both.
    """

    training: list[Entry]
    validation: list[Entry]
    tags: dict[str, str]


def load_split(
    dataset_dir: str | None, *, metadata: Mapping[str, Any], fold: int, max_cases: int | None = None
) -> Split:
    """Find, check and split the cases of a dataset folder; see `find_cases`, `check_cases` and `split`.

    Args:
        dataset_dir: the folder; None is an error that tells how to give it.
        metadata: of the bundle; every label value must be one of its classes.
        fold: the validation block, 0 to 4.
        max_cases: take only the first so many, for a quick try.

    Raises:
        DatasetError: naming the first file at fault.
        ConfigError: for a fold that does not exist.
    """
    cases = _checked(dataset_dir, metadata, max_cases)
    training, validation = split(cases, fold=fold)
    tags = {
        "dataset_fingerprint": fingerprint(cases),
        "fold": str(fold),
        "training_cases": str(len(training)),
        "validation_cases": str(len(validation)),
    }
    return Split(_entries(training), _entries(validation), tags)


def load_labelled(
    dataset_dir: str | None, *, metadata: Mapping[str, Any], fold: int | str, max_cases: int | None = None
) -> list[Entry]:
    """The checked cases to evaluate on: the validation cases of `fold`, or all of them for 'all'.

    The label stands under `truth`, not `label`: preprocessing must not touch what is measured against.
    """
    cases = _checked(dataset_dir, metadata, max_cases)
    if fold != "all":
        cases = split(cases, fold=fold)[1]  # type: ignore[arg-type]
    return [{"image": _paths(each.images), "truth": str(each.label), "case": each.name} for each in cases]


def _checked(dataset_dir: str | None, metadata: Mapping[str, Any], max_cases: int | None) -> list[Case]:
    if dataset_dir is None:
        raise DatasetError("no dataset given: use --dataset_dir FOLDER, which holds images/ and labels/")
    cases = find_cases(dataset_dir)[:max_cases]
    check_cases(cases, class_names=class_names(metadata))
    return cases


def _entries(cases: Sequence[Case]) -> list[Entry]:
    return [{"image": _paths(each.images), "label": _label_paths(each), "case": each.name} for each in cases]


def _label_paths(case: Case) -> str | list[str]:
    if case.label is not None and needs_grid(case.label):
        return [str(case.label), str(case.images[0])]
    return str(case.label)


def _paths(paths: Sequence[Path]) -> str | list[str]:
    return str(paths[0]) if len(paths) == 1 else [str(path) for path in paths]
