"""The split into folds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.data import Case, split
from medseg.errors import ConfigError, DatasetError


def make_cases(count: int) -> list[Case]:
    return [Case(f"{number:04d}", (Path("image"),), Path("label")) for number in range(count)]


def test_fold_4_of_5_of_200_cases_validates_on_the_last_40() -> None:
    cases = make_cases(200)

    training, validation = split(cases, fold=4)

    assert validation == cases[160:]
    assert training == cases[:160]


@given(count=st.integers(2, 60), folds=st.integers(2, 10))
def test_every_case_validates_in_exactly_one_fold(count: int, folds: int) -> None:
    cases = make_cases(count)
    if count < folds:
        return
    parts = [split(cases, fold=fold, folds=folds) for fold in range(folds)]

    assert [case for _, validation in parts for case in validation] == cases
    sizes = {len(validation) for _, validation in parts}
    assert max(sizes) - min(sizes) <= 1
    for training, validation in parts:
        assert sorted(training + validation, key=lambda case: case.name) == cases


def test_the_order_of_the_list_does_not_matter() -> None:
    cases = make_cases(11)

    assert split(cases[::-1], fold=2) == split(cases, fold=2)


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_does_not_exist_is_an_error(fold: int) -> None:
    with pytest.raises(ConfigError, match=f"fold is {fold}: expected a whole number from 0 to 4"):
        split(make_cases(10), fold=fold)


def test_too_few_cases_or_folds_are_an_error() -> None:
    with pytest.raises(DatasetError, match="4 cases cannot be split into 5 folds"):
        split(make_cases(4), fold=0)
    with pytest.raises(ConfigError, match="folds is 1"):
        split(make_cases(4), fold=0, folds=1)
