"""Where the seconds of a case go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

STAGES = ("read", "preprocess", "network", "restore", "write")


_T = TypeVar("_T")


class Stages:
    """Seconds per stage of one case: `with stages("read"): ...`. A stage inside another's block counts by itself."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._inner = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time inside the block to `stage`, one of `STAGES`."""
        began, before = time.perf_counter(), self._inner
        self._inner = 0.0
        try:
            yield
        finally:
            whole = time.perf_counter() - began
            self.seconds[stage] += whole - self._inner
            self._inner = before + whole

    def each(self, stage: str, things: Iterator[_T]) -> Iterator[_T]:
        """The same things, the time that it takes to get them added to `stage`."""
        while True:
            with self(stage):
                thing = next(things, None)
            if thing is None:
                return
            yield thing
