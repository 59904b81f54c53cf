"""Side by side: the next case is prepared and the one before is concluded while one is worked on."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from types import TracebackType
from typing import Generic, TypeVar

_Thing = TypeVar("_Thing")
_Job = TypeVar("_Job")
_NICE = 10
_M_ARENA_MAX = -8  # of glibc's malloc.h


class Pipeline(Generic[_Thing, _Job]):
    """`with Pipeline(...) as pipeline: for job in pipeline.prepared(things): ...; pipeline.conclude(job)`.

    Preparing and concluding have a thread each, so no more than three jobs are held at a time: one in each thread,
    one in the loop's hands. Jobs are concluded in the order of the things.

    Args:
        prepare: makes a job of a thing.
        conclude: what is done with a job in the end.
        room_beside: whether the thing after a job may be prepared before that job is concluded.
        give_up: is called with every job that is not concluded because of an error elsewhere.
    """

    def __init__(
        self,
        prepare: Callable[[_Thing], _Job],
        conclude: Callable[[_Job], None],
        *,
        room_beside: Callable[[_Job], bool],
        give_up: Callable[[_Job], None],
    ) -> None:
        self._prepare, self._conclude, self._give_up = prepare, conclude, give_up
        self._room_beside = room_beside
        _share_one_heap()
        self._before, self._after = (
            ThreadPoolExecutor(1, name, initializer=_stand_back) for name in ("prepare", "conclude")
        )
        self._coming: Future[_Job] | None = None
        self._in_hand: _Job | None = None
        self._going: Future[None] | None = None

    def prepared(self, things: Sequence[_Thing]) -> Iterator[_Job]:
        """The jobs, in order; raises what preparing raised."""
        for thing, following in zip_longest(things, things[1:]):
            if self._coming is None:
                self.wait()
                self._coming = self._before.submit(self._prepare, thing)
            self._in_hand, self._coming = self._coming.result(), None
            if following is not None and self._room_beside(self._in_hand):
                self._coming = self._before.submit(self._prepare, following)
            yield self._in_hand

    def conclude(self, job: _Job) -> None:
        """Hand a job over to be concluded, once the one before it is; raises what concluding that one raised."""
        self.wait()
        self._going, self._in_hand = self._after.submit(self._conclude, job), None

    def wait(self) -> None:
        """Until everything that was handed over is concluded."""
        going, self._going = self._going, None
        if going is not None:
            going.result()

    def __enter__(self) -> Pipeline[_Thing, _Job]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.wait()
        finally:
            self._after.shutdown()
            self._before.shutdown(cancel_futures=True)
            coming = self._coming
            if coming is not None and not coming.cancelled() and coming.exception() is None:
                self._give_up(coming.result())
            if self._in_hand is not None:
                self._give_up(self._in_hand)


def _share_one_heap() -> None:
    """With a heap for every thread, memory that one frees is not what another takes: a batch grows with its cases."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc
        libc.mallopt(_M_ARENA_MAX, 1)


def _stand_back() -> None:
    """Leave the cores to the network: its threads wait for the slowest of them, so one that shares costs them all."""
    if sys.platform == "linux":  # elsewhere the whole process would stand back
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
