"""The split into folds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.data import Case, Folds, find_cases, split
from medseg.errors import ConfigError, DatasetError


def make_cases(count: int) -> list[Case]:
    return [Case(f"{number:04d}", (Path("image"),), (Path("label"),)) for number in range(count)]


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


PATIENT = r"^(p\d+)_"


def slices(*counts: int) -> list[Case]:
    """So many slices of patients p00, p01, ..., in the order of slices and not of patients."""
    names = [f"p{patient:02d}_{number}" for patient, count in enumerate(counts) for number in range(count)]
    return [Case(name, (Path(name),), (Path("label"),)) for name in sorted(names, key=lambda name: name[::-1])]


def patients(cases: list[Case]) -> set[str]:
    return {case.name[:3] for case in cases}


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


@given(counts=st.lists(st.integers(1, 12), min_size=2, max_size=12), folds=st.integers(2, 6))
def test_group_pattern_keeps_patients_together(counts: list[int], folds: int) -> None:
    cases = slices(*counts)
    if len(counts) < folds:
        with pytest.raises(DatasetError, match=f"{len(counts)} groups of cases cannot be split into {folds} folds"):
            Folds(folds, PATIENT).of(cases, 0)
        return
    parts = [Folds(folds, PATIENT).of(cases, fold) for fold in range(folds)]
    assert sorted(name for _, validation in parts for name in names(validation)) == sorted(names(cases))
    for training, validation in parts:
        assert patients(training) | patients(validation) == patients(cases)
        assert not patients(training) & patients(validation)
        assert names(training) == sorted(names(training)) and names(validation) == sorted(names(validation))
    sizes = {len(patients(validation)) for _, validation in parts}
    assert max(sizes) - min(sizes) <= 1


@given(counts=st.lists(st.integers(1, 5), min_size=4, max_size=15), every=st.integers(2, 20))
def test_every_so_many_th_group_is_set_aside_and_in_no_fold(counts: list[int], every: int) -> None:
    cases = slices(*counts)
    rule = Folds(2, PATIENT, test_every=every)
    test = rule.test(cases)
    assert patients(test) == {f"p{n:02d}" for n in range(every - 1, len(counts), every)}
    assert names(test) == sorted(name for name in names(cases) if name[:3] in patients(test))
    for fold in (0, 1, "all"):
        training, validation = rule.of(cases, fold)
        assert sorted(names(training) + names(validation) + names(test)) == sorted(names(cases))


def test_cases_that_the_dataset_sets_aside_are_the_only_test_cases() -> None:
    cases = [*make_cases(10), Case("t", (Path("t"),), (), subset="test")]
    rule = Folds(2, test_every=2)
    assert names(rule.test(cases)) == ["t"]
    assert rule.of(cases, "all") == (make_cases(10), [])
    assert names(rule.of(cases, 0)[1]) == names(make_cases(5))


def test_without_a_rule_no_case_is_set_aside() -> None:
    assert Folds().test(make_cases(10)) == []
    assert Folds().of(make_cases(10), "all") == (make_cases(10), [])
    assert Folds().of(make_cases(10), 1) == split(make_cases(10), fold=1)


def test_name_without_the_pattern_is_a_group_of_its_own() -> None:
    cases = [Case(name, (Path(name),), ()) for name in ("p1_a", "p1_b", "x", "y")]
    training, validation = Folds(3, r"^(p\d)?_?").of(cases, 0)
    assert (names(training), names(validation)) == (["x", "y"], ["p1_a", "p1_b"])


def test_names_without_the_pattern_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    Folds(2, PATIENT).of(slices(2, 3), 0)
    Folds(2).of(make_cases(4), 0)
    assert not caplog.messages

    Folds(2, PATIENT).of([*slices(2, 3), *make_cases(4)], 0)
    (told,) = caplog.messages
    assert told.startswith(f"folds: group {PATIENT!r} is in 5 of 9 names and not in '0000': such cases are split as if")


@pytest.mark.parametrize("pattern", ["(", "p.*", "(p)["])
def test_pattern_that_is_none_or_has_no_group_is_an_error(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"^folds: group '.*': .*; expected a pattern with a group in \(\.\.\.\)$"):
        Folds(2, pattern).of(slices(2, 2), 0)


@pytest.mark.parametrize("every", [-1, 0, 1])
def test_every_case_or_none_cannot_be_set_aside(every: int) -> None:
    with pytest.raises(ConfigError, match=f"test_every is {every}: expected 2 or more"):
        Folds(2, test_every=every).test(make_cases(4))


@pytest.mark.parametrize("fold", [2, -1, "0", "test", True, None])
def test_fold_of_another_name_is_an_error(fold: Any) -> None:
    with pytest.raises(ConfigError, match=f"fold is {fold}: expected a whole number from 0 to 1, or 'all'"):
        Folds(2).of(make_cases(4), fold)


def write_split(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_fixed_split_of_nnunet_is_taken_as_it_stands(tmp_path: Path) -> None:
    """Cases in neither list are left out; the other rules do not count."""
    folds = [{"train": ["0002", "0000"], "val": ["0001"]}, {"train": ["0003"], "val": ["0002", "0000"]}]
    rule = Folds(7, "(.)", test_every=2, file=write_split(tmp_path / "splits_final.json", folds))
    assert [tuple(map(names, rule.of(make_cases(4), fold))) for fold in (0, 1)] == [
        (["0000", "0002"], ["0001"]),
        (["0003"], ["0000", "0002"]),
    ]
    assert rule.of(make_cases(4), "all") == (make_cases(4), [])
    assert rule.test(make_cases(4)) == []
    with pytest.raises(ConfigError, match="fold is 2: expected a whole number from 0 to 1"):
        rule.of(make_cases(4), 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"train": ["0000"], "val": ["0009"]}], "fold 0: '0009' is no case of the dataset"),
        ([{"train": ["0000", "0001"], "val": ["0001"]}], "fold 0: '0001' is on both sides"),
        ([{"train": ["0000"]}], r"no split that can be read .*; expected a list with \{'train'"),
        ({"train": ["0000"], "val": ["0001"]}, "no split that can be read"),
        ([{"train": [["0000"]], "val": []}], "no split that can be read"),
        ([{"train": [7], "val": ["0001", "x"]}], "no split that can be read"),
        ("{", "no split that can be read"),
        ([], "no split that can be read"),
    ],
)
def test_split_file_that_does_not_fit_is_named(tmp_path: Path, content: Any, message: str) -> None:
    file = write_split(tmp_path / "s.json", content)
    with pytest.raises(DatasetError, match=rf"s\.json: {message}"):
        Folds(file=file).of(make_cases(4), 0)


def test_missing_split_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.json: no split that can be read"):
        Folds(file=str(tmp_path / "none.json")).of(make_cases(4), 0)


def test_slices_of_the_real_patients_stay_together(data_dir: Path) -> None:
    cases = find_cases(data_dir / "brain_lgg")
    parts = [Folds(3, r"^(TCGA_\w\w_\d+)_").of(cases, fold)[1] for fold in range(3)]
    assert [{case.name[:12] for case in part} for part in parts] == [
        {"TCGA_CS_4942"}, {"TCGA_CS_4944"}, {"TCGA_DU_5855"}
    ]  # fmt: skip
    assert [len(part) for part in parts] == [7, 7, 7]


def test_patient_may_stand_anywhere_in_a_name() -> None:
    cases = [Case(name, (Path(name),), ()) for name in ("1_p2_x", "2_p1_x", "3_p2_x", "4_p1_x")]
    training, validation = Folds(2, r"_(p\d)_").of(cases, 0)
    assert (names(training), names(validation)) == (["1_p2_x", "3_p2_x"], ["2_p1_x", "4_p1_x"])
