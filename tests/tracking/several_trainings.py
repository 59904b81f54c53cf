"""Several trainings as real processes on one fresh store in the working directory.

`first` and `second` begin at once, as does `killed`, which then dies by SIGKILL; `later` begins after that,
`forgetful` never calls `finish`. Whatever looks up a host or connects to one is listed in network.txt.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from medseg.tracking.tracker import Tracker

EPOCHS = 5
LIMIT_S = 240


def train(name: str, value: float) -> Tracker:
    sys.addaudithook(note_network)
    tracker = Tracker.start(experiment="liver", tracking_uri=None, params={"name": name}, tags={}, run_name=name)
    for epoch in range(1, EPOCHS + 1):
        tracker.metrics({"train_loss": value, f"of/{name}": value}, epoch=epoch)
        time.sleep(0.1)
    return tracker


def finished(name: str, value: float) -> None:
    tracker = train(name, value)
    tracker.finish("FINISHED")


def never_ending(name: str, value: float) -> None:
    train(name, value)
    time.sleep(LIMIT_S)


def note_network(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.connect"):
        with Path("network.txt").open("a") as file:
            file.write(f"{event} {arguments}\n")


def fork(training: Callable[[str, float], object], name: str, value: float) -> int:
    process = os.fork()
    if process == 0:
        signal.alarm(LIMIT_S)
        training(name, value)
        sys.exit()
    return process


def last_epoch_of(name: str) -> int:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracking_uri="sqlite:///mlflow.db")
        experiment = client.get_experiment_by_name("liver")
        for run in client.search_runs([experiment.experiment_id]) if experiment else []:
            if run.info.run_name == name and "train_loss" in run.data.metrics:
                return client.get_metric_history(run.info.run_id, "train_loss")[-1].step
    except MlflowException:
        pass
    return 0


def main() -> None:
    signal.alarm(LIMIT_S)
    together = [fork(finished, "first", 1.0), fork(finished, "second", 2.0)]
    killed = fork(never_ending, "killed", 3.0)
    for process in together:
        os.waitpid(process, 0)
    while last_epoch_of("killed") < EPOCHS:
        time.sleep(0.1)
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    for process in (fork(finished, "later", 4.0), fork(train, "forgetful", 5.0)):
        os.waitpid(process, 0)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
