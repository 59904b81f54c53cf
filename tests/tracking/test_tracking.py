"""One training is one MLflow run, whatever happens to the training, to others beside it, or to the server."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from medseg.errors import ConfigError
from medseg.tracking import owner, store, worker
from medseg.tracking.owner import has_ended, this_process
from medseg.tracking.tracker import Tracker
from medseg.tracking.uri import full_uri

SEVERAL_TRAININGS = Path(__file__).with_name("several_trainings.py")


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("fresh") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{database}")
    return database


@pytest.fixture
def folder(tmp_path: Path, fresh_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a database in it that need not be made anew every time."""
    shutil.copy(fresh_database, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_ANSWER_S", 0.5)
    monkeypatch.setattr(worker, "_RETRY_S", 0.2)
    monkeypatch.setattr(worker, "_BREATH_S", 0.0)


def start(tracking_uri: str | None = None, **more: object) -> Tracker:
    options: dict[str, object] = {"experiment": "liver", "params": {}, "tags": {}, **more}
    return Tracker.start(tracking_uri=tracking_uri, **options)  # type: ignore[arg-type]


def client_of(tracker: Tracker) -> MlflowClient:
    return MlflowClient(tracking_uri=tracker._store.uri)


def run_of(tracker: Tracker) -> Run:
    assert tracker.run_id is not None
    return client_of(tracker).get_run(tracker.run_id)


def files_of(tracker: Tracker, folder: str | None = None) -> dict[str, str]:
    client = client_of(tracker)
    return {
        item.path: Path(client.download_artifacts(tracker.run_id, item.path)).read_text()
        for item in client.list_artifacts(tracker.run_id, folder)
        if not item.is_dir
    }


def epochs_of(tracker: Tracker, metric: str) -> dict[int, float]:
    history = client_of(tracker).get_metric_history(tracker.run_id, metric)
    return {measure.step: measure.value for measure in history}


def wait_until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + 120
    while not true():
        if time.monotonic() > give_up:
            pytest.fail("it never came")
        time.sleep(0.05)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("trouble", ["", "hardlink_to"])
def test_file_goes_by_another_name_where_its_own_must_not_be_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Also on a file system without hard links."""
    if trouble:
        monkeypatch.setattr(Path, trouble, lambda *_: (_ for _ in ()).throw(OSError("not here")))
    (folder / "Hans Müller.png").write_text("a picture")
    tracker = start()
    tracker.artifact(folder / "Hans Müller.png", "difference", "001.png")
    tracker.finish("FINISHED")
    assert files_of(tracker, "difference") == {"difference/001.png": "a picture"}


def test_logs_all_of_a_training(folder: Path) -> None:
    tracker = start(
        params={"train": {"lr": 3e-4}, "dataset_dir": "/data/Hans Müller"},
        tags={"bundle": "liver", "git_commit": "0123abc", "device": "cpu"},
        run_name="first",
    )
    tracker.metrics({"train_loss": 0.5, "dice/liver": 0.8}, epoch=1)
    tracker.metrics({"train_loss": 0.4, "dice/liver": float("nan")}, epoch=2)
    tracker.text("config.yaml", "lr: 3.0e-4\n")
    picture = folder / "validation-0001.png"
    picture.write_text("a picture")
    tracker.picture(picture)
    tracker.finish("FINISHED", message="Best Dice **0.8**")

    run = run_of(tracker)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert run.data.params == {"train/lr": "0.0003", "dataset_dir": "<local path>"}
    assert (
        run.data.tags.items()
        >= {
            "bundle": "liver",
            "device": "cpu",
            "mlflow.source.name": "liver",
            "mlflow.source.git.commit": "0123abc",
            "mlflow.note.content": "Best Dice **0.8**",
        }.items()
    )
    assert epochs_of(tracker, "train_loss") == {1: 0.5, 2: 0.4}
    assert epochs_of(tracker, "dice/liver").keys() == {1, 2}
    assert files_of(tracker) == {"config.yaml": "lr: 3.0e-4\n"}
    assert files_of(tracker, "pictures") == {"pictures/validation-0001.png": "a picture"}


def test_default_is_what_a_plain_mlflow_ui_shows(folder: Path) -> None:
    tracker = start()
    tracker.text("config.yaml", "")
    tracker.finish("FINISHED")
    assert tracker.ui_command == f"mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db"
    assert [*folder.glob("mlruns/liver/*/artifacts/config.yaml")]
    assert tracker.url is not None and tracker.run_id in tracker.url


@pytest.mark.parametrize("name", ["Jörg Müller", "50%20"])
def test_makes_its_database_in_a_folder_of_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    tracker = start()
    tracker.text("config.yaml", "lr: 1\n")
    tracker.finish("FINISHED")
    assert files_of(tracker) == {"config.yaml": "lr: 1\n"}
    assert {path.name for path in (tmp_path / name).iterdir()} == {".mlflow.db.lock", "mlflow.db", "mlruns"}


def test_given_uri_wins_over_environment_wins_over_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert full_uri(None) == f"sqlite:///{folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert full_uri(None) == "http://server:5000"
    assert full_uri("sqlite:///runs/own.db") == f"sqlite:///{folder}/runs/own.db"

    tracker = start(f"sqlite:///{folder}/mlflow.db")
    tracker.finish("FINISHED")
    assert run_of(tracker).info.status == "FINISHED"


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "/data/mlruns", "file:///data/mlruns"])
def test_refuses_a_folder_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"tracking_uri .*write sqlite:///"):
        start(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        start()


def test_every_training_is_one_clean_run(tmp_path: Path) -> None:
    quiet = ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")
    environment = {key: value for key, value in os.environ.items() if key not in (*quiet, "MLFLOW_TRACKING_URI")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, SEVERAL_TRAININGS], cwd=tmp_path, env=environment, check=True, timeout=300)

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = {
        run.info.run_name: run for run in client.search_runs([client.get_experiment_by_name("liver").experiment_id])
    }
    assert {name: run.info.status for name, run in runs.items()} == {
        "first": "FINISHED",
        "second": "FINISHED",
        "killed": "KILLED",
        "later": "FINISHED",
        "forgetful": "FAILED",
    }
    for value, name in enumerate(("first", "second", "killed", "later", "forgetful"), start=1):
        assert runs[name].data.params == {"name": name}
        assert runs[name].data.metrics == {"train_loss": value, f"of/{name}": value}
        history = client.get_metric_history(runs[name].info.run_id, "train_loss")
        assert [measure.step for measure in history] == [1, 2, 3, 4, 5]
        if name == "killed":
            assert runs[name].info.end_time == history[-1].timestamp
    assert "killed" in runs["killed"].data.tags["mlflow.note.content"]
    assert not (tmp_path / "network.txt").exists(), "a call has left the machine"


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_marks_what_became_of_the_training(folder: Path, status: str) -> None:
    weights = folder / "model.pt"
    weights.write_text("weights")
    tracker = start()
    tracker.metrics({"train_loss": 0.5}, epoch=1)
    tracker.artifact(weights)
    tracker.finish(status, message="cannot read /data/Hans Müller/ct.nii.gz: truncated")
    tracker.finish("FINISHED")
    tracker.metrics({"train_loss": 0.4}, epoch=2)
    run = run_of(tracker)
    assert run.info.status == status
    assert run.data.tags["mlflow.note.content"] == "cannot read <local path>: truncated"
    assert epochs_of(tracker, "train_loss") == {1: 0.5}
    assert files_of(tracker) == {"model.pt": "weights"}


def test_joins_no_run_that_is_active_in_the_process(folder: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    try:
        with mlflow.start_run(experiment_id="0") as active:
            tracker = start(experiment="Default")
            tracker.finish("FINISHED")
            assert tracker.run_id != active.info.run_id
            assert mlflow.active_run().info.run_id == active.info.run_id
    finally:
        mlflow.set_tracking_uri(None)


def test_leaves_the_runs_of_living_processes_alone(folder: Path) -> None:
    first, second = start(), start()
    wait_until(lambda: first.run_id and second.run_id)
    third = start()
    third.finish("FINISHED")
    assert [run_of(tracker).info.status for tracker in (first, second, third)] == [
        "RUNNING",
        "RUNNING",
        "FINISHED",
    ]
    first.finish("FINISHED")
    second.finish("KILLED")
    assert run_of(first).info.status == "FINISHED"


def test_knows_the_dead_from_the_living() -> None:
    here, number, birth = this_process().split(":")
    for alive_or_unknown in (this_process(), f"elsewhere:{number}:{birth}", f"{here}:{number}:", f"{here}:x:y", ""):
        assert not has_ended(alive_or_unknown)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="births of processes are read from /proc")
def test_knows_a_number_used_again_and_a_zombie() -> None:
    here, number, _birth = this_process().split(":")
    assert has_ended(f"{here}:{number}:another")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        child = f"{here}:{process.pid}:{owner._birth(process.pid)}"
        assert not has_ended(child)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # leaves it a zombie
        assert has_ended(child)
    assert has_ended(child)


def test_keeps_names_apart_that_mlflow_would_merge(folder: Path) -> None:
    tracker = start()
    tracker.metrics({"dice/T1+T2": 0.1, "dice/T1*T2": 0.2, "dice/T1/T2": 0.3, "dice/..": 0.4}, epoch=1)
    tracker.metrics({"dice/T1*T2": 0.25}, epoch=2)
    tracker.finish("FINISHED")
    assert epochs_of(tracker, "dice/T1_T2") == {1: 0.1}
    assert epochs_of(tracker, "dice/T1_T2_") == {1: 0.2, 2: 0.25}
    assert run_of(tracker).data.metrics.items() >= {"dice/T1/T2": 0.3, "dice/_": 0.4}.items()


def test_one_thing_that_cannot_be_logged_costs_nothing_else(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = start()
    tracker.metrics({"train_loss": 0.5, "of no kind": None}, epoch=1)  # type: ignore[dict-item]
    tracker.artifact(folder / "missing.pt")
    tracker.artifact(folder / "missing too.pt")
    tracker.metrics({"train_loss": 0.4}, epoch=2)
    tracker.finish("FINISHED")
    assert run_of(tracker).info.status == "FINISHED"
    assert epochs_of(tracker, "train_loss") == {1: 0.5, 2: 0.4}
    told = warnings_in(caplog)
    assert len(told) == 2
    assert "of no kind is not logged" in told[0]
    assert "missing.pt is not logged" in told[1]


def test_sends_a_replaced_file_whole_and_newest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = folder / "model.pt"
    weights.write_text("epoch 1")
    log_artifact = MlflowClient.log_artifact
    sent = []

    def replaced_meanwhile(self: MlflowClient, run_id: str, path: str, where: str | None = None) -> None:
        (folder / "new").write_text("half of")
        (folder / "new").replace(weights)
        log_artifact(self, run_id, path, where)
        sent.append(path)

    monkeypatch.setattr(MlflowClient, "log_artifact", replaced_meanwhile)
    tracker = start()
    for _ in range(3):
        tracker.artifact(weights)
    tracker.finish("FINISHED")
    assert files_of(tracker) == {"model.pt": "epoch 1"}
    assert len(sent) == 1
    assert not [*folder.glob(".tracking-*")]


def test_a_busy_database_loses_nothing(
    folder: Path, impatient: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = {"create_run": 2, "log_batch": 2}

    def busy_at_first(name: str) -> Callable[..., object]:
        original = getattr(MlflowClient, name)

        def call(*arguments: object, **options: object) -> object:
            if refusals[name]:
                refusals[name] -= 1
                raise MlflowException("database is locked", error_code=TEMPORARILY_UNAVAILABLE)
            return original(*arguments, **options)

        return call

    for name in refusals:
        monkeypatch.setattr(MlflowClient, name, busy_at_first(name))
    tracker = start()
    tracker.metrics({"train_loss": 0.5}, epoch=1)
    wait_until(lambda: not any(refusals.values()))
    tracker.finish("FINISHED")
    assert run_of(tracker).info.status == "FINISHED"
    assert epochs_of(tracker, "train_loss") == {1: 0.5}
    assert all("database is locked" in message for message in warnings_in(caplog))


def test_a_lost_reply_makes_no_second_run(folder: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    create_run = MlflowClient.create_run
    calls = []

    def reply_lost(*arguments: object, **options: object) -> Run:
        calls.append(create_run(*arguments, **options))
        raise MlflowException("timeout", error_code=TEMPORARILY_UNAVAILABLE)

    monkeypatch.setattr(MlflowClient, "create_run", reply_lost)
    tracker = start()
    wait_until(lambda: tracker.run_id)
    tracker.finish("FINISHED")
    assert [run.info.run_id for run in calls] == [tracker.run_id]


@pytest.mark.parametrize("place", ["file/mlflow.db", "a_folder"])
def test_a_place_that_cannot_be_written_stops_nothing(
    folder: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "file").write_text("")
    (folder / "a_folder").mkdir()
    tracker = start(f"sqlite:///{folder}/{place}")
    tracker.metrics({"train_loss": 0.5}, epoch=1)
    tracker.finish("FINISHED")
    assert tracker.run_id is None and tracker.url is None
    assert len(warnings_in(caplog)) == 1
    assert "this run is not logged, training goes on" in caplog.text


def test_a_server_that_accepts_and_never_answers(impatient: None, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        tracker = start(f"http://anna:secret@127.0.0.1:{port}")
        tracker.metrics({"train_loss": 0.5}, epoch=1)
        wait_until(lambda: warnings_in(caplog))
        tracker.metrics({"train_loss": 0.4}, epoch=2)
        tracker.finish("FINISHED")
    assert tracker.run_id is None
    assert len(warnings_in(caplog)) == 1
    assert f"tracking server http://127.0.0.1:{port} does not answer, training goes on" in caplog.text
    assert "secret" not in caplog.text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


class Server:
    """A real MLflow server, not started yet, that keeps its runs in `folder`."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        where = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        where += [
            "--artifacts-destination",
            str(self.folder),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *where],
                env={**os.environ, **lean},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def test_a_server_that_comes_late_and_dies_early(
    folder: Path,
    server: Server,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(store, "_ANSWER_S", 5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///not this one.db")
    kept = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")

    tracker = start(server.uri)
    tracker.metrics({"train_loss": 0.5}, epoch=1)
    wait_until(lambda: warnings_in(caplog))
    assert tracker.run_id is None

    server.start()
    wait_until(lambda: tracker.run_id)
    tracker.text("config.yaml", "lr: 1\n")
    other = start(server.uri, run_name="other")
    other.metrics({"train_loss": 0.1}, epoch=1)
    other.finish("FINISHED")
    assert kept.get_run(other.run_id).info.status == "FINISHED"
    assert kept.get_run(other.run_id).data.metrics == {"train_loss": 0.1}
    wait_until(lambda: kept.get_run(tracker.run_id).data.metrics == {"train_loss": 0.5})
    wait_until(lambda: [*folder.rglob("config.yaml")])
    assert len(warnings_in(caplog)) == 1

    server.kill()
    tracker.metrics({"train_loss": 0.4}, epoch=2)
    wait_until(lambda: len(warnings_in(caplog)) == 2)
    tracker.finish("FINISHED")
    assert kept.get_run(tracker.run_id).info.status == "RUNNING"
    assert all("does not answer, training goes on" in message for message in warnings_in(caplog))
    assert not (folder / "not this one.db").exists()
    assert tracker.ui_command is None
    assert tracker.url is not None and tracker.url.startswith(f"{server.uri}/#/experiments/")


def test_epochs_after_an_interruption_are_logged_anew_and_those_before_it_are_not(folder: Path) -> None:
    first = start(training="mine")
    for epoch in (1, 2, 3):
        first.metrics({"train_loss": epoch / 10}, epoch=epoch)
    first.finish("KILLED")
    again = start(training="mine", goes_on_after=2)
    again.metrics({"train_loss": 9.0}, epoch=2)
    again.metrics({"train_loss": 0.7}, epoch=3)
    again.finish("FINISHED")
    assert again.run_id == first.run_id
    assert epochs_of(again, "train_loss") == {1: 0.1, 2: 0.2, 3: 0.7}


def test_tags_name_no_place(folder: Path) -> None:
    tracker = start(tags={"note": "read /data/Hans Müller/ct.nii.gz"})
    tracker.finish("FINISHED")
    assert run_of(tracker).data.tags["note"] == "read <local path>"
