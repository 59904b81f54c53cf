"""One MLflow run in one tracking store: every call blocks until it is done, and may raise.

`MlflowClient` only, never MLflow's fluent functions: they keep an "active run" per process, which other
code, MONAI's own handler among it, joins.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib
import os
import shlex
import shutil
import ssl
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import filelock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from medseg.tracking.owner import has_ended, machine, this_process
from medseg.tracking.uri import (
    alone_with,
    artifact_folder,
    sqlite_file,
    sqlite_uri,
    without_user,
)

# What a user may set as well. MLflow's own 120 s and 7 retries keep a training waiting for minutes; a slow
# server gets its time all the same, as `Store.answers` finds a dead one beforehand.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_ANSWER_S = 5
_OWNER_TAG = "medseg.process"
_TRAINING_TAG = "medseg.training"
_NOTE_TAG = "mlflow.note.content"  # MLflow shows it as the description of a run
_GOES_ON_NOTE = "Goes on after an interruption."
_ORPHAN_NOTE = "The process ended without a word: killed, out of memory, or the machine stopped."
_PARAMS_PER_CALL = 100  # MLflow's limit
_TAG_LENGTH = 8000  # MLflow's limit


class Measure(NamedTuple):
    """One number of one epoch; `time_ms` is milliseconds since 1970."""

    name: str
    value: float
    time_ms: int
    epoch: int


class NoAnswerError(Exception):
    """The server does not answer within seconds."""


class Store:
    """The run of one training in the store at `uri`.

    Args:
        uri: as from `uri.full_uri`.
        experiment: made if there is none of this name.
        run_name: as MLflow shows it.
        params: of the run.
        tags: of the run; `bundle` and `git_commit` also fill MLflow's own columns for source and version.
        start_ms: beginning of the training, in milliseconds since 1970.
        training: a word that no other training has, by which its run is found again.
        goes_on_after: the epoch after which the training was interrupted, and has a run; 0 if it was not.
    """

    def __init__(
        self,
        uri: str,
        *,
        experiment: str,
        run_name: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        start_ms: int,
        training: str,
        goes_on_after: int,
    ) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self.uri = uri
        self.is_server = uri.startswith(("http://", "https://"))
        self._experiment_id = ""
        self._run_id = ""
        self._experiment = experiment
        self._run_name = run_name
        self._params = [Param(key, value) for key, value in params.items()]
        self._tags = {key: value[:_TAG_LENGTH] for key, value in {**_own_tags(tags, training), **tags}.items()}
        self._start_ms = start_ms
        self._goes_on_after = goes_on_after
        self._logged: set[tuple[str, int]] = set()
        self._tried = False
        if sqlite_file(uri):
            # Not in the thread that calls `open`: a loader process forked during an import hangs for ever.
            with contextlib.suppress(ImportError):
                importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
                importlib.import_module("alembic.command")

    @property
    def run_id(self) -> str | None:
        """None until `open` has made the run."""
        return self._run_id or None

    @property
    def ui_command(self) -> str | None:
        """The command that shows the store in a browser; None for one that is not a local file."""
        return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)}" if sqlite_file(self.uri) else None

    @property
    def url(self) -> str | None:
        """The page of the run: on its server, or while `ui_command` runs; None until there is a run."""
        if not self._run_id or not (self.is_server or self.ui_command):
            return None
        server = without_user(self.uri).rstrip("/") if self.is_server else "http://127.0.0.1:5000"
        # Left to itself MLflow 3 opens an experiment on a page about chat traces.
        page = f"experiments/{self._experiment_id}/runs/{self._run_id}/model-metrics"
        return f"{server}/#/{page}?workflowType=machine_learning"

    def answers(self, error: Exception | None = None) -> bool:
        """Whether the server answers within seconds; of a database, whether `error` says it is in use."""
        if not self.is_server:
            busy = getattr(error, "error_code", None) == "TEMPORARILY_UNAVAILABLE"
            return not busy and not isinstance(error, filelock.Timeout)
        try:
            with urlopen(f"{without_user(self.uri).rstrip('/')}/health", timeout=_ANSWER_S):
                return True
        except HTTPError as refusal:
            return refusal.code < 500
        except URLError as failure:  # whether a certificate will do is up to MLflow's own settings
            return isinstance(failure.reason, ssl.SSLError)
        except (OSError, HTTPException):
            return False

    def trouble(self, error: Exception) -> str:
        """Say what is wrong with a store that cannot be used now, and what to do about it."""
        if self.is_server:
            return (
                f"tracking server {without_user(self.uri)} does not answer, training goes on without it: "
                "start it, or name another by tracking_uri or MLFLOW_TRACKING_URI"
            )
        reason = str(error).strip().partition("\n")[0][:300]
        return f"tracking database {without_user(self.uri)} cannot be used now, training goes on without it: {reason}"

    def check(self) -> None:
        """Raise `NoAnswerError` for a server that is down, before a call waits for it much longer."""
        if self.is_server and not self.answers():
            raise NoAnswerError(f"no answer within {_ANSWER_S} s")

    def open(self) -> None:
        """Make the run, in state RUNNING; after an error it may be called again, and makes no second one."""
        database = sqlite_file(self.uri)
        with alone_with(database):
            if database is not None:
                if not database.exists():
                    _make(database)
                database.open("r+b").close()  # MLflow itself tries what it cannot open again and again, for 100 s
            self._client = MlflowClient(tracking_uri=self.uri)
            self._experiment_id = self._experiment_id or self._find_or_make_experiment()
        may_have_one = self._tried or self._goes_on_after  # a reply that got lost may have left a run behind
        if may_have_one and not self._run_id:
            self._run_id = self._find_own_run()
        self._tried = True
        if self._run_id and self._goes_on_after:
            self._reopen()
        if not self._run_id:
            run = self._client.create_run(
                self._experiment_id, start_time=self._start_ms, tags=self._tags, run_name=self._run_name
            )
            self._run_id = run.info.run_id
        with contextlib.suppress(MlflowException):  # a courtesy to other runs; this one is open
            self._close_orphans()

    def params(self) -> None:
        """Log the parameters."""
        for first in range(0, len(self._params), _PARAMS_PER_CALL):
            self._client.log_batch(self._run_id, params=self._params[first : first + _PARAMS_PER_CALL])

    def measures(self, measures: Sequence[Measure]) -> None:
        """Log at most 1000 numbers."""
        metrics = [Metric(*each) for each in measures if (each.name, each.epoch) not in self._logged]
        self._client.log_batch(self._run_id, metrics=metrics)

    def file(self, path: Path, folder: str | None, name: str) -> None:
        """Log the file at `path` as the artifact `name` in `folder` of the run."""
        with _held(path, name) as held:
            self._client.log_artifact(self._run_id, str(held), folder)

    def text(self, name: str, text: str) -> None:
        """Log `text` as the artifact `name`, a file name with or without folders."""
        self._client.log_text(self._run_id, text, name)

    def close(self, status: str, note: str | None) -> None:
        """End the run as `status`, with `note` as its description."""
        if note:
            self._client.set_tag(self._run_id, _NOTE_TAG, note[:_TAG_LENGTH])
        self._client.set_terminated(self._run_id, status)

    def _find_or_make_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        try:
            made = self._client.create_experiment(
                self._experiment,
                artifact_location=artifact_folder(self.uri, self._experiment),
                tags={"mlflow.experimentKind": "custom_model_development"},
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another training has just made it
                raise
            return self._find_or_make_experiment()
        return str(made)

    def _find_own_run(self) -> str:
        own = f"tags.`{_TRAINING_TAG}` = '{self._tags[_TRAINING_TAG]}'"
        runs = self._client.search_runs([self._experiment_id], own)
        return str(runs[0].info.run_id) if runs else ""

    def _reopen(self) -> None:
        for key, value in {**self._tags, _NOTE_TAG: _GOES_ON_NOTE}.items():  # another process, and maybe machine
            self._client.set_tag(self._run_id, key, value)
        self._client.update_run(self._run_id, status="RUNNING")
        logged = self._client.get_run(self._run_id).data
        self._params = [param for param in self._params if param.key not in logged.params]  # none may be changed
        self._logged = {
            (name, measure.step)
            for name in logged.metrics
            for measure in self._client.get_metric_history(self._run_id, name)
            if measure.step <= self._goes_on_after
        }

    def _close_orphans(self) -> None:
        """Mark the runs of trainings that `kill -9` or a power cut ended on this machine."""
        running = f"attributes.status = 'RUNNING' AND tags.`{_OWNER_TAG}` LIKE '{machine()}:%'"
        for run in self._client.search_runs([self._experiment_id], running):
            if has_ended(run.data.tags[_OWNER_TAG]):
                if run.data.tags.get(_NOTE_TAG, _GOES_ON_NOTE) == _GOES_ON_NOTE:
                    self._client.set_tag(run.info.run_id, _NOTE_TAG, _ORPHAN_NOTE)
                self._client.set_terminated(run.info.run_id, "KILLED", end_time=self._last_sign_ms(run))

    def _last_sign_ms(self, run: Run) -> int:
        name = next(iter(run.data.metrics), None)
        history = self._client.get_metric_history(run.info.run_id, name) if name else []
        return int(max([run.info.start_time, *(metric.timestamp for metric in history)]))


def _own_tags(tags: Mapping[str, str], training: str) -> dict[str, str]:
    own = {
        _OWNER_TAG: this_process(),
        _TRAINING_TAG: training,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": tags.get("bundle", "medseg"),
    }
    if "git_commit" in tags:
        own["mlflow.source.git.commit"] = tags["git_commit"]
    with contextlib.suppress(Exception):  # a container often runs as a user without a name
        own["mlflow.user"] = getpass.getuser()
    return own


def _make(database: Path) -> None:
    """Make the tables elsewhere: MLflow never recovers from a file in which it was stopped half-way."""
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=database.parent) as folder:
        fresh = Path(folder) / database.name
        MlflowClient(tracking_uri=sqlite_uri(fresh))
        fresh.replace(database)


@contextlib.contextmanager
def _held(path: Path, name: str) -> Iterator[Path]:
    """`path` by a second name, so that a checkpoint replaced during its upload is still sent whole."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=".tracking-", dir=path.parent)
    except OSError:  # a folder that cannot be written to
        folder = tempfile.TemporaryDirectory(prefix="tracking-")
    with folder:
        held = Path(folder.name) / name
        try:
            held.hardlink_to(path)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without hard links
            if name == path.name:
                held = path
            else:
                shutil.copyfile(path, held)
        yield held
