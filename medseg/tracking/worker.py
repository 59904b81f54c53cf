"""The thread that talks to MLflow, so that the training never waits for it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, NamedTuple

from medseg.tracking.store import Measure, NoAnswerError, Store
from medseg.tracking.uri import without_user

logger = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]

_GATHER_S = 1.0  # all that comes within a second is one call: short epochs cost no more than long ones
_RETRY_S = 30.0
_BREATH_S = 1.0
_MEASURES_PER_CALL = 1000  # MLflow's limit


class Opening(NamedTuple):
    """Make the run; before all else."""


class Params(NamedTuple):
    """Log the parameters of the run."""


class File(NamedTuple):
    """Log a file, as it is when its turn comes."""

    path: Path
    folder: str | None
    name: str


class Text(NamedTuple):
    """Log a text as a file."""

    name: str
    text: str


class Closing(NamedTuple):
    """Mark the run as ended; nothing is put in the queue after it."""

    status: Status
    note: str | None


Job = Opening | Params | Measure | File | Text | Closing


class Worker(threading.Thread):
    """Takes jobs off `queue` until a `Closing` and all else is done, or cannot be done any more.

    A job that the store refuses is dropped, with one warning for each kind of job. While the store does not
    answer the jobs wait, with one warning for the whole time; once `ending` is set they get a last chance.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(name="medseg-tracking", daemon=True)
        self.queue: SimpleQueue[Job] = SimpleQueue()  # its `put` may be called from a signal handler
        self.ending = threading.Event()
        self._waiting: deque[Job] = deque([Opening(), Params()])
        self._store = store
        self._chances = 1 if store.is_server else 3
        self._silent = False
        self._complained: set[type[Job]] = set()

    def run(self) -> None:
        """Work until there is nothing left to do."""
        closed = False
        with _without_chatter(), contextlib.suppress(_NothingMoreError):
            while self._waiting or not closed:
                self._gather()
                batch = _first_of(self._waiting)
                self._do_or_drop(batch)
                for _ in batch:
                    self._waiting.popleft()
                closed = closed or isinstance(batch[0], Closing)

    def complain(self, job: Job, error: Exception) -> None:
        """Warn that `job` is not logged, once for each kind of job."""
        if type(job) not in self._complained:
            self._complained.add(type(job))
            reason = without_user(str(error).strip().partition("\n")[0][:300])
            logger.warning(f"tracking: {_name_of(job)} is not logged, training goes on: {reason}")

    def _gather(self) -> None:
        if not self._waiting:
            self._waiting.append(self.queue.get())
            self.ending.wait(_GATHER_S)
        with contextlib.suppress(Empty):
            while True:
                self._waiting.append(self.queue.get_nowait())
        last = self._waiting[-1]
        if isinstance(last, Closing) and last.status != "FINISHED":
            # Little time is left: the status goes before what may take long.
            self._waiting = deque(sorted(self._waiting, key=lambda job: isinstance(job, File)))

    def _do_or_drop(self, batch: list[Job]) -> None:
        while True:
            try:
                self._do(batch)
                break
            except Exception as error:  # whatever it is, it must not end the training
                if not isinstance(error, NoAnswerError) and self._store.answers(error):
                    self.complain(batch[0], error)
                    if isinstance(batch[0], Opening):
                        raise _NothingMoreError from error
                    break
                self._wait_for_answer(error)
        if self._silent:
            self._silent = False
            logger.info("tracking works again, nothing was lost")

    def _do(self, batch: list[Job]) -> None:
        self._store.check()
        match batch[0]:
            case Opening():
                self._store.open()
            case Params():
                self._store.params()
            case Measure():
                self._store.measures([job for job in batch if isinstance(job, Measure)])
            case File() as job:
                if self._waiting.count(job) == 1:  # else a later one sends the same file
                    self._store.file(*job)
            case Text(name, text):
                self._store.text(name, text)
            case Closing(status, note):
                self._store.close(status, note)

    def _wait_for_answer(self, error: Exception) -> None:
        if not self._silent:
            self._silent = True
            logger.warning(self._store.trouble(error))
        if self.ending.is_set():
            self._chances -= 1
            if not self._chances:
                raise _NothingMoreError from error
            time.sleep(_BREATH_S)
        else:
            self.ending.wait(_RETRY_S)


class _NothingMoreError(Exception):
    """Without a run, or at the end without an answer, there is nothing more to do."""


def _first_of(waiting: deque[Job]) -> list[Job]:
    measures = itertools.takewhile(lambda job: isinstance(job, Measure), waiting)
    return list(itertools.islice(measures, _MEASURES_PER_CALL)) or [waiting[0]]


def _name_of(job: Job) -> str:
    match job:
        case Opening():
            return "this run"
        case Params():
            return "the config"
        case Measure(name=name):
            return name
        case File(name=name) | Text(name=name):
            return name
        case Closing(status=status):
            return f"the status {status}"


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Hide what MLflow and urllib3 log in this thread: every retry at length, where once is enough."""
    thread = threading.get_ident()

    def worth_reading(record: logging.LogRecord) -> bool:
        return record.thread != thread or record.name == logger.name

    places = [*logging.getLogger("mlflow").handlers, logging.getLogger("urllib3.connectionpool")]
    for place in places:
        place.addFilter(worth_reading)
    try:
        yield
    finally:
        for place in places:
            place.removeFilter(worth_reading)
