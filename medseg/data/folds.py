"""Cross-validation folds."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.data.datalist import Case
from medseg.errors import ConfigError, DatasetError


def split(cases: Sequence[Case], *, fold: int, folds: int = 5) -> tuple[list[Case], list[Case]]:
    """The training and the validation cases of one fold, both sorted by name.

    Folds are contiguous blocks of the sorted names, as equal as the count allows: neighbouring names
    are often one subject, who then stays on one side, and the rule needs no seed. Of 200 cases, fold
    4 of 5 validates on the last 40.

    Raises:
        ConfigError: `folds` is less than 2, or `fold` is not one of 0 ... folds - 1.
        DatasetError: there are fewer cases than folds.
    """
    if folds < 2:
        raise ConfigError(f"folds is {folds}: expected 2 or more")
    if not 0 <= fold < folds:
        raise ConfigError(f"fold is {fold}: expected a whole number from 0 to {folds - 1}")
    if len(cases) < folds:
        raise DatasetError(f"{len(cases)} cases cannot be split into {folds} folds: set folds to fewer")
    ordered = sorted(cases, key=lambda case: case.name)
    start, stop = (len(ordered) * edge // folds for edge in (fold, fold + 1))
    return ordered[:start] + ordered[stop:], ordered[start:stop]
