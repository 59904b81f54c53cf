"""Preparing, working and concluding side by side."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from medseg.inference.pipeline import Pipeline


class Watch:
    """Notes what happens to jobs, and how many are held at a time."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.held: set[int] = set()
        self.most_held = 0

    def prepare(self, thing: int) -> int:
        self.held.add(thing)
        self.most_held = max(self.most_held, len(self.held))
        self.events.append(("prepared", thing))
        return thing

    def conclude(self, job: int) -> None:
        time.sleep(0.01)  # so that one that does not wait would be seen
        self.events.append(("concluded", job))
        self.held.discard(job)

    def give_up(self, job: int) -> None:
        self.events.append(("given up", job))
        self.held.discard(job)

    def pipeline(self, room: bool = True, conclude=None) -> Pipeline[int, int]:
        return Pipeline(self.prepare, conclude or self.conclude, room_beside=lambda job: room, give_up=self.give_up)

    def of(self, what: str) -> list[int]:
        return [job for event, job in self.events if event == what]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize(("room", "most"), [(True, 3), (False, 1)])
def test_all_jobs_are_concluded_in_order_and_few_are_held(count: int, room: bool, most: int) -> None:
    watch = Watch()
    with watch.pipeline(room) as pipeline:
        for job in pipeline.prepared(range(count)):
            pipeline.conclude(job)
    assert watch.of("prepared") == watch.of("concluded") == list(range(count))
    assert watch.most_held <= most
    assert not watch.of("given up")


def test_the_next_is_prepared_and_the_one_before_concluded_meanwhile() -> None:
    watch, next_is_there, before_is_done = Watch(), threading.Event(), threading.Event()

    def prepare(thing: int) -> int:
        if thing == 2:
            next_is_there.set()
        return thing

    def conclude(job: int) -> None:
        if job == 0:
            assert next_is_there.wait(10)
            before_is_done.set()

    with Pipeline(prepare, conclude, room_beside=lambda job: True, give_up=watch.give_up) as pipeline:
        for job in pipeline.prepared(range(3)):
            if job == 1:  # both go on while this one is in our hands
                assert before_is_done.wait(10)
            pipeline.conclude(job)


@pytest.mark.parametrize("where", ["the loop", "concluding", "preparing"])
def test_an_error_ends_it_and_what_was_not_concluded_is_given_up(where: str) -> None:
    watch = Watch()

    def prepare(thing: int) -> int:
        if where == "preparing" and thing == 2:
            raise RuntimeError(where)
        return watch.prepare(thing)

    def conclude(job: int) -> None:
        if where == "concluding" and job == 1:
            raise RuntimeError(where)
        watch.conclude(job)

    with (
        pytest.raises(RuntimeError, match=where),
        Pipeline(prepare, conclude, room_beside=lambda job: True, give_up=watch.give_up) as pipeline,
    ):
        for job in pipeline.prepared(range(6)):
            if where == "the loop" and job == 2:
                raise RuntimeError(where)
            pipeline.conclude(job)
    assert 0 in watch.of("concluded")
    taken_care_of = watch.of("concluded") + watch.of("given up") + ([1] if where == "concluding" else [])
    assert sorted(taken_care_of) == sorted(watch.of("prepared"))


HEAPS = """
import ctypes, sys
from medseg.inference.pipeline import Pipeline

def heaps():
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)
    return open(sys.argv[1]).read().count("<heap nr=")

before = heaps()
keep = {"room_beside": lambda job: True, "give_up": lambda job: None}
with Pipeline(lambda thing: bytearray(100_000), lambda job: bytearray(100_000), **keep) as pipeline:
    for job in pipeline.prepared(range(4)):
        pipeline.conclude(job)
sys.exit(heaps() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="no glibc")
def test_threads_have_no_heaps_of_their_own(tmp_path: Path) -> None:
    """With them what one frees is not there for the others: the process grew by 35 MB with every large CT."""
    done = subprocess.run([sys.executable, "-c", HEAPS, str(tmp_path / "heaps.xml")], check=False)
    assert done.returncode == 0
