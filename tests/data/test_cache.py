"""Cases are preprocessed once, as many as memory holds, and never kept beyond that."""

from __future__ import annotations

from collections import Counter

import pytest
from monai.transforms import Compose, Lambda, RandomizableTransform

from medseg.data import cache
from medseg.data.cache import MemoryDataset


class Louder(RandomizableTransform):
    """Stands for an augmentation."""

    def __call__(self, data: str) -> str:
        return f"{data}!"


def test_cases_are_preprocessed_once_and_augmented_each_time() -> None:
    done: Counter[str] = Counter()
    dataset = MemoryDataset(list("abc"), Compose([Lambda(lambda x: done.update(x) or x), Louder()]))
    assert [dataset[index] for index in (0, 1, 2, 0)] == ["a!", "b!", "c!", "a!"]
    assert done == {"a": 1, "b": 1, "c": 1}


def test_where_memory_runs_short_the_others_are_prepared_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done: Counter[str] = Counter()
    monkeypatch.setattr(cache, "machine_memory", lambda: 100)
    monkeypatch.setattr(cache, "free_memory", lambda _: 45 - 10 * done.total())  # each takes 10 of 100

    dataset = MemoryDataset(list("abcde"), Compose([Lambda(lambda x: done.update(x) or x)]))
    assert done == {"a": 1, "b": 1, "c": 1}
    assert [dataset[index] for index in (0, 3, 4, 3, -1)] == ["a", "d", "e", "d", "e"]
    assert done == {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2}
    assert caplog.messages == [
        "memory holds 3 of 5 preprocessed cases; the others are prepared anew in every epoch, which is slower"
    ]


def test_first_case_is_always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda _: 0)
    assert MemoryDataset(list("ab"), Compose([Lambda(str.upper)]))[1] == "B"
