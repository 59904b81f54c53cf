"""Means count misses, intervals hold the mean, and the same scores give the same numbers."""

from __future__ import annotations

import pytest

from medseg.metrics import ClassScore, summarise


def score(value: float, outcome: str = "scored", name: str = "liver") -> ClassScore:
    if outcome == "absent":
        return ClassScore(name, "absent", None, None, None, None, 0, 0)
    return ClassScore(name, outcome, value, value / 2, 10 * value, value, 1, 1)  # type: ignore[arg-type]


def test_misses_count_and_absent_cases_do_not() -> None:
    (liver,) = summarise([score(0.9), score(0.7), score(0.0, "missed"), score(0.0, "false_alarm"), score(0, "absent")])
    assert liver.estimates["dice"].mean == pytest.approx(0.4)
    assert (liver.scored, liver.misses, liver.false_alarms, liver.absent) == (2, 1, 1, 1)


def test_interval_holds_the_mean_narrows_with_cases_and_repeats() -> None:
    few = summarise([score(0.8), score(0.9), score(0.6)])[0].estimates["dice"]
    many = summarise([score(0.8), score(0.9), score(0.6)] * 20)[0].estimates["dice"]
    assert few == summarise([score(0.8), score(0.9), score(0.6)])[0].estimates["dice"]
    assert few.interval is not None and many.interval is not None and few.mean is not None
    assert few.interval[0] <= few.mean <= few.interval[1]
    assert many.interval[1] - many.interval[0] < few.interval[1] - few.interval[0]


def test_class_in_no_case_has_no_mean() -> None:
    (liver,) = summarise([score(0, "absent")])
    assert liver.estimates["dice"].mean is None
    assert liver.estimates["hd95_mm"].interval is None


def test_classes_stay_apart_in_their_order() -> None:
    spleen, liver = summarise([score(0.5, name="spleen"), score(0.9), score(0.7, name="spleen")])
    assert (spleen.class_name, liver.class_name) == ("spleen", "liver")
    assert spleen.estimates["dice"].mean == pytest.approx(0.6)
