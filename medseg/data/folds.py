"""Cross-validation folds: whole groups of cases, by rule or from a file."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from medseg.data.datalist import Case
from medseg.errors import ConfigError, DatasetError

_log = logging.getLogger(__name__)
_NNUNET = "a list with {'train': [names], 'val': [names]} per fold, as nnU-Net's splits_final.json"


@dataclass(frozen=True)
class Folds:
    """How the training cases of a dataset are split.

    Attributes:
        count: into how many folds.
        group: a regular expression whose first group, found in a case's name, is what must not be divided,
            such as the patient; None where every case stands for itself. A case in whose name it is not found does
            so too, of which a warning tells.
        test_every: set every so many-th group aside for testing, where the dataset itself sets none aside;
            None for no test cases.
        file: a fixed split in nnU-Net's form (`splits_final.json`); replaces the other three.
    """

    count: int = 5
    group: str | None = None
    test_every: int | None = None
    file: str | None = None

    def of(self, cases: Sequence[Case], fold: int | str) -> tuple[list[Case], list[Case]]:
        """The training and the validation cases of a fold, both sorted by name.

        Args:
            cases: test cases among them are left out.
            fold: from 0; `all` trains on every case and validates on none.

        Raises:
            ConfigError: for a fold that does not exist, or a pattern that is none.
            DatasetError: for fewer groups than folds, or a split file that does not fit the cases.
        """
        mine = self._sides(cases)[0]
        if fold == "all":
            return mine, []
        if self.file is not None:
            return _from_file(mine, Path(self.file), fold)
        return split(mine, fold=fold, folds=self.count, group=self.group)

    def test(self, cases: Sequence[Case]) -> list[Case]:
        """The cases set aside for testing, sorted by name: by the dataset, else by `test_every`."""
        return self._sides(cases)[1]

    def _sides(self, cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
        ordered = sorted(cases, key=lambda case: case.name)
        alone = [case.name for case in ordered if self.group is not None and _group_in(case.name, self.group) is None]
        if alone and self.file is None:
            _log.warning(
                f"folds: group {self.group!r} is in {len(ordered) - len(alone)} of {len(ordered)} names and not in "
                f"'{alone[0]}': such cases are split as if each were a patient; --folds::group gives another pattern"
            )
        aside = [case for case in ordered if case.subset == "test"]
        if not aside and self.test_every is not None and self.file is None:
            if self.test_every < 2:
                raise ConfigError(f"folds: test_every is {self.test_every}: expected 2 or more")
            groups = sorted({_group_of(case.name, self.group) for case in ordered})
            tested = set(groups[self.test_every - 1 :: self.test_every])
            aside = [case for case in ordered if _group_of(case.name, self.group) in tested]
        return [case for case in ordered if case not in aside], aside


def split(
    cases: Sequence[Case], *, fold: int | str, folds: int = 5, group: str | None = None
) -> tuple[list[Case], list[Case]]:
    """The training and the validation cases of one fold, both sorted by name.

    Folds are contiguous blocks of the sorted names, as equal as the count allows: neighbouring names
    are often one subject, who then stays on one side, and the rule needs no seed. Of 200 cases, fold
    4 of 5 validates on the last 40. With `group` the blocks are of groups.

    Raises:
        ConfigError: `folds` is less than 2, or `fold` is not one of 0 ... folds - 1.
        DatasetError: there are fewer groups than folds.
    """
    if not isinstance(folds, int) or folds < 2:
        raise ConfigError(f"folds is {folds!r}: expected a whole number, 2 or more")
    _check_fold(fold, folds)
    ordered = sorted(cases, key=lambda case: (_group_of(case.name, group), case.name))
    groups = [list(each) for _, each in groupby(ordered, key=lambda case: _group_of(case.name, group))]
    if len(groups) < folds:
        what = "cases" if group is None else "groups of cases"
        fewer = "--folds::count fewer, or " if len(groups) > 1 else ""
        raise DatasetError(f"{len(groups)} {what} cannot be split into {folds} folds: give {fewer}--fold all")
    start, stop = (len(groups) * edge // folds for edge in (int(fold), int(fold) + 1))
    sides = ([*groups[:start], *groups[stop:]], groups[start:stop])
    training, validation = (sorted(chain.from_iterable(side), key=lambda case: case.name) for side in sides)
    return training, validation


def _group_of(case: str, pattern: str | None) -> str:
    return case if pattern is None else _group_in(case, pattern) or case


def _group_in(case: str, pattern: str) -> str | None:
    try:
        found = re.search(pattern, case)
        return (found.group(1) or None) if found else None
    except (re.error, IndexError, TypeError) as error:
        raise ConfigError(f"folds: group {pattern!r}: {error}; expected a pattern with a group in (...)") from error


def _check_fold(fold: object, folds: int) -> None:
    if not isinstance(fold, int) or isinstance(fold, bool) or not 0 <= fold < folds:
        raise ConfigError(f"fold is {fold}: expected a whole number from 0 to {folds - 1}, or 'all'")


def _names(given: list[str]) -> set[str]:
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise TypeError(f"{given} is no list of names")
    return set(given)


def _from_file(cases: Sequence[Case], file: Path, fold: int | str) -> tuple[list[Case], list[Case]]:
    try:
        folds = [tuple(_names(each[side]) for side in ("train", "val")) for each in json.loads(file.read_text("utf-8"))]
        if not folds:
            raise ValueError("no folds")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{file}: no split that can be read ({error!r}); expected {_NNUNET}") from error
    _check_fold(fold, len(folds))
    training, validation = folds[int(fold)]
    known = {case.name for case in cases}
    unknown = sorted((training | validation) - known)
    both = sorted(training & validation)
    if unknown or both:
        what = f"'{unknown[0]}' is no case of the dataset" if unknown else f"'{both[0]}' is on both sides"
        raise DatasetError(f"{file}: fold {fold}: {what}")
    return [case for case in cases if case.name in training], [case for case in cases if case.name in validation]
