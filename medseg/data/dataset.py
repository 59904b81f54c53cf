"""A dataset as a bundle's config takes it: checked, split, ready for a `monai.data.Dataset`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.bundle.metadata import class_names
from medseg.data.check import check_cases
from medseg.data.datalist import Case, find_cases
from medseg.data.dataset_json import check_named
from medseg.data.digest import digest
from medseg.data.fit import Kind, Taken, check_fit
from medseg.data.folds import Folds
from medseg.errors import ConfigError, DatasetError
from medseg.images import needs_grid

if TYPE_CHECKING:  # importing MONAI takes seconds
    from monai.inferers import Inferer
    from monai.transforms import Compose

    from medseg.images.reader import LabelReader

_log = logging.getLogger(__name__)

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

    def trained_on(self, training: Sequence[Any] | None, validation: Sequence[Any] | None) -> Split:
        """The split of these entries, where datasets were given others than this one's; None for datasets without."""
        given = [entries if entries is None else list(entries) for entries in (training, validation)]
        own = (self.training, self.validation)
        if all(each is None or _images(each) == _images(mine) for each, mine in zip(given, own, strict=True)):
            return self
        sides = [
            own if each is None else each for each, own in zip(given, (self.training, self.validation), strict=True)
        ]
        tags = {"training_cases": str(len(sides[0])), "validation_cases": str(len(sides[1]))}
        return Split(sides[0], sides[1], tags)

    @property
    def facts(self) -> dict[str, str]:
        """What tells it from every other: the tags, and a digest of the names of the cases on either side."""
        names = [sorted(str(each.get("case")) for each in side) for side in (self.training, self.validation)]
        return {**self.tags, "names": hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]}


def load_split(
    dataset_dir: str | None,
    *,
    metadata: Mapping[str, Any],
    fold: int | str,
    max_cases: int | None = None,
    folds: Folds | None = None,
    label_reader: LabelReader | None = None,
    max_empty: float | None = None,
    preprocessing: Compose | None = None,
    inferer: Inferer | None = None,
    bundle_root: str | None = None,
) -> Split:
    """Find, check and split the cases of a dataset folder; see `find_cases`, `check_fit`, `check_cases` and `Folds`.

    Args:
        dataset_dir: the folder; None is an error that tells how to give it.
        metadata: of the bundle; every label value must be one of its classes.
        fold: the validation block, 0 to 4; `all` trains on every case and validates on none.
        max_cases: take only so many, evenly spaced, for a quick try.
        folds: how the cases are split; None for five contiguous blocks.
        label_reader: how label files tell the classes; None for whole numbers.
        max_empty: largest share of training cases whose label is empty; of more, evenly spaced ones are
            taken. A network that mostly sees empty images learns to find nothing.
        preprocessing: of the bundle; None to leave out whether the images are what the network takes.
        inferer: of the bundle; one that cuts slices takes volumes.
        bundle_root: the bundle's folder, whose layer for volumes is named where it would help.

    Raises:
        DatasetError: naming the first file at fault.
        ConfigError: for a fold that does not exist.
    """
    found = [case for case in _found(dataset_dir) if case.subset == "training"]
    cases = _few(found, max_cases)
    kind = None
    if preprocessing is not None and cases:
        kind = check_fit(cases[0], preprocessing, Taken.of(metadata, inferer, bundle_root))
    empty = _check(dataset_dir, cases, metadata, label_reader, kind)
    sides = (folds or Folds()).of(found, fold)  # of all: a quick try must not train on cases that are set aside
    taken = {case.name for case in cases}
    training, validation = ([case for case in side if case.name in taken] for side in sides)
    for purpose, kept, side in zip(("train", "validate"), (training, validation), sides, strict=True):
        if side and not kept:
            raise DatasetError(f"max_cases {max_cases} leaves no case to {purpose} on: take more")
    if all(case.name in empty for case in training):
        raise DatasetError(
            f"{dataset_dir}: the labels of all {len(training)} training cases hold background only, so there is "
            "nothing to learn; does the bundle's label_reader fit them?"
        )
    if max_empty is not None:
        training = _fewer_empty(training, max_empty, empty)
    tags = {
        "dataset_fingerprint": digest(cases),
        "fold": str(fold),
        "training_cases": str(len(training)),
        "validation_cases": str(len(validation)),
    }
    return Split(_entries(training), _entries(validation), tags)


def load_labelled(
    dataset_dir: str | None,
    *,
    metadata: Mapping[str, Any],
    fold: int | str,
    max_cases: int | None = None,
    folds: Folds | None = None,
    label_reader: LabelReader | None = None,
    side: str = "validation",
    masked: bool = True,
) -> list[Entry]:
    """The checked cases to evaluate on: the validation cases of `fold`, `test` or `all`.

    `test` are the cases that the dataset sets aside, `all` are all others. The label stands under `truth`,
    not `label`: preprocessing must not touch what is measured against. Where the dataset has them, `mask`
    tells where results count and `observer` is a second human's label.

    Args:
        others: as of `load_split`.
        side: `training` for the fold's training cases instead, to tell how far a model learned them by heart.
        masked: whether masks count; False for entries without.

    Raises:
        DatasetError: as `load_split`, and for `test` where no cases are set aside.
        ConfigError: for a fold or a side that does not exist.
    """
    rule, found = folds or Folds(), _found(dataset_dir)
    cases = rule.test(found) if fold == "test" else _side(rule, found, fold, side)
    if not cases:
        raise DatasetError(f"{dataset_dir}: no {fold} cases; a dataset sets them aside in a folder test/")
    cases = _few(cases, max_cases)
    if len(_check(dataset_dir, cases, metadata, label_reader)) == len(cases):
        _log.warning(
            f"{dataset_dir}: the labels of all {len(cases)} cases hold background only; does label_reader fit?"
        )
    return [_labelled(case if masked else replace(case, mask=None)) for case in cases]


def _fewer_empty(cases: list[Case], share: float, without: Collection[str]) -> list[Case]:
    """The cases with a label and, evenly spaced, as many `without` as make up `share` of all at most."""
    empty = [case for case in cases if case.name in without]
    room = int(share / (1 - share) * (len(cases) - len(empty))) if share < 1 else len(empty)
    if len(empty) <= room:
        return cases
    kept = {empty[index * len(empty) // room].name for index in range(room)}
    dropped = {case.name for case in empty} - kept
    return [case for case in cases if case.name not in dropped]


def _side(rule: Folds, cases: Sequence[Case], fold: int | str, side: str) -> list[Case]:
    if side not in ("training", "validation"):
        raise ConfigError(f"side '{side}': expected 'validation' or 'training'")
    training, validation = rule.of(cases, fold)
    return training if side == "training" or fold == "all" else validation


def _few(cases: list[Case], most: int | None) -> list[Case]:
    if most is not None and (not isinstance(most, int) or most < 1):
        raise ConfigError(f"max_cases {most!r}: give a whole number of at least 1, or null for all")
    if most is None or len(cases) <= most:
        return cases
    return [cases[index * len(cases) // most] for index in range(most)]


def _found(dataset_dir: str | None) -> list[Case]:
    if dataset_dir is None:
        raise DatasetError("no dataset given: use --dataset_dir FOLDER, which holds images/ and labels/")
    return find_cases(dataset_dir)


def _check(
    dataset_dir: str | None,
    cases: Sequence[Case],
    metadata: Mapping[str, Any],
    label_reader: LabelReader | None,
    kind: Kind | None = None,
) -> set[str]:
    names, coding = class_names(metadata), label_reader.coding if label_reader else None
    check_named(Path(str(dataset_dir)), names, coding)
    return check_cases(cases, class_names=names, coding=coding, kind=kind)


def _labelled(case: Case) -> Entry:
    entry: Entry = {"image": _paths(case.images), "truth": _paths(case.labels)}
    entry |= {key: str(path) for key, path in (("mask", case.mask), ("observer", case.observer)) if path}
    return entry | {"case": case.name}


def _entries(cases: Sequence[Case]) -> list[Entry]:
    return [{"image": _paths(each.images), "label": _label_paths(each), "case": each.name} for each in cases]


def _label_paths(case: Case) -> str | list[str]:
    return _paths([*case.labels, case.images[0]] if any(map(needs_grid, case.labels)) else case.labels)


def _images(entries: Sequence[Any]) -> list[str]:
    """What tells lists of entries apart, in whatever order."""
    return sorted(str(each["image"]) if isinstance(each, Mapping) and "image" in each else "" for each in entries)


def _paths(paths: Sequence[Path]) -> str | list[str]:
    return str(paths[0]) if len(paths) == 1 else [str(path) for path in paths]
