"""One training, one MLflow run, logged from a thread of its own.

    Tracker ── queue ──> Worker (a thread) ──> Store ──> MLflow: an SQLite file or a server

Tracking never holds up or ends a training. With a server that does not answer the queue waits, the worker
tries again now and then; what still waits when the training ends is lost.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from medseg.tracking.names import metric_name, public_params, public_text
from medseg.tracking.store import Measure, Store
from medseg.tracking.uri import full_uri
from medseg.tracking.worker import Closing, File, Job, Status, Text, Worker

logger = logging.getLogger(__name__)

_FLUSH_S = {"FINISHED": 120.0, "FAILED": 30.0, "KILLED": 10.0}


class Tracker:
    """The MLflow run of one training: `start` begins it, `finish` ends it; nothing between blocks or raises.

    The store is `tracking_uri`, else `MLFLOW_TRACKING_URI`, else `mlflow.db` in the working directory, with
    the files in `mlruns` beside it. Only the first two can make a call leave the machine. MLflow's telemetry
    is off (`MLFLOW_DISABLE_TELEMETRY`) and its waiting times are cut down (`MLFLOW_HTTP_REQUEST_TIMEOUT`,
    `MLFLOW_HTTP_REQUEST_MAX_RETRIES`) unless these variables are set to something else.

    A `Tracker` that the program leaves unfinished ends as FAILED when the interpreter exits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[str, str] = {}
        self._process = os.getpid()
        self._worker = Worker(store)
        self._worker.start()
        atexit.register(self._abandon)

    @classmethod
    def start(
        cls,
        *,
        experiment: str,
        tracking_uri: str | None,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        run_name: str | None = None,
        training: str = "",
        goes_on_after: int = 0,
    ) -> Tracker:
        """Begin a run and return at once; it is made in the background.

        Runs of `experiment` that a `kill -9` ended on this machine are marked KILLED on the way.

        Args:
            experiment: its name; made if there is none.
            tracking_uri: of a server or a database; None for `MLFLOW_TRACKING_URI`, else the local default.
            params: the config, nested or flat; goes through `public_params`.
            tags: short facts; `bundle` and `git_commit` also fill MLflow's columns for source and version.
            run_name: None for date and time.
            training: a word that no other training has; made up where it is empty.
            goes_on_after: the epoch after which that training was interrupted, if it was, and its run is to go on;
                where the store has none, one begins. Numbers up to this epoch are logged if the run lacks them.

        Raises:
            ConfigError: for a tracking URI that MLflow no longer takes, such as a folder.
        """
        store = Store(
            full_uri(tracking_uri),
            experiment=experiment,
            run_name=run_name or time.strftime("%Y-%m-%d %H:%M:%S"),
            params=public_params(params),
            tags={key: public_text(str(value)) for key, value in tags.items()},
            start_ms=_now_ms(),
            training=training or uuid.uuid4().hex,
            goes_on_after=goes_on_after,
        )
        return cls(store)

    @property
    def run_id(self) -> str | None:
        """Of the MLflow run; None while there is none, as with a server that does not answer."""
        return self._store.run_id

    @property
    def ui_command(self) -> str | None:
        """The command that shows the runs in a browser; None where a server does."""
        return self._store.ui_command

    @property
    def url(self) -> str | None:
        """The page of this run, on its server or while `ui_command` runs; None while there is no run."""
        return self._store.url

    def metrics(self, values: Mapping[str, float], *, epoch: int) -> None:
        """Log numbers of `epoch`; names that MLflow would refuse are mended, see `metric_name`."""
        now = _now_ms()
        for name, value in values.items():
            measure = Measure(self._mended(name), float("nan"), now, epoch)
            try:
                self._put(measure._replace(value=float(value)))
            except (TypeError, ValueError) as error:
                self._worker.complain(measure, error)

    def artifact(self, path: Path, folder: str | None = None, name: str | None = None) -> None:
        """Log the file at `path`, in `folder` of the run's artifacts, as it is when its turn comes.

        One that is replaced meanwhile by `os.replace` is sent whole, in its newest version; it must not be
        deleted before `finish`. It goes by `name` there where that is given, as its own may name a patient.
        """
        self._put(File(path, folder, name or path.name))

    def picture(self, path: Path) -> None:
        """Log a PNG in `pictures`; MLflow sorts by name: write the epoch with leading zeros."""
        self.artifact(path, "pictures")

    def text(self, name: str, text: str) -> None:
        """Log `text` as a file called `name`."""
        self._put(Text(name, text))

    def finish(self, status: Status, *, message: str | None = None) -> None:
        """Send what is waiting, mark the run, and return within a time limit; a second call does nothing.

        The limit is 120 s for a run that FINISHED, 30 s for one that FAILED and 10 s for one that was
        KILLED; the last two are marked before files that are still waiting are sent.

        Args:
            status: what became of the training.
            message: shown by MLflow as the description of the run (Markdown). Paths are taken out of it; that
                it names no case is up to the caller.
        """
        if self._worker.ending.is_set() or os.getpid() != self._process:
            return
        atexit.unregister(self._abandon)
        self._put(Closing(status, public_text(message) if message else None))
        self._worker.ending.set()
        self._worker.join(_FLUSH_S[status])
        if self._worker.is_alive():
            logger.warning(
                f"tracking: not all could be sent within {_FLUSH_S[status]:.0f} s, "
                f"MLflow's run {self.run_id} stays incomplete"
            )

    def _abandon(self) -> None:
        self.finish("FAILED", message="The program ended before the training did.")

    def _put(self, job: Job) -> None:
        if self._worker.is_alive() and not self._worker.ending.is_set():
            self._worker.queue.put(job)

    def _mended(self, name: str) -> str:
        if name not in self._names:
            mended = metric_name(*name.split("/"))
            while mended in self._names.values():  # "a+b" and "a*b" are two curves
                mended += "_"
            self._names[name] = mended
        return self._names[name]


def _now_ms() -> int:
    return int(time.time() * 1000)
