"""What of a training run is kept: its config, numbers, pictures and weights, on disk and in MLflow."""

from __future__ import annotations

import logging
import math
import platform
import subprocess
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

import yaml
from ignite.engine import Engine, Events

from medseg import __version__
from medseg.bundle.metadata import class_colours, class_names
from medseg.bundle.running import running_workflow
from medseg.files import write_text
from medseg.inference.quality.fingerprint import FILE_NAME as FINGERPRINT
from medseg.pictures import Panel, contact_sheet, learning_curves, save
from medseg.tracking.names import public_config
from medseg.tracking.tracker import Tracker
from medseg.tracking.uri import without_user
from medseg.training.checkpoint import BestAndLast
from medseg.training.validation import KEY_METRIC, Validator

_log = logging.getLogger(__name__)

_EPOCH_METRICS = ("train_loss", "learning_rate", "epoch_seconds")


class Recording:
    """Ignite handler of a `Trainer`: opens one MLflow run at the start, and closes it as what became of it.

    On disk: `output_dir/config.yaml` (as it ran, layers and overrides merged; with the first weights) and
    `output_dir/pictures/validation_epoch_NNNN.png` and `learning_curves.png`. In MLflow the same with local
    paths taken out, the parameters, metrics per epoch, tags, the list of installed packages, and the best
    weights with the fingerprint of what they were trained on.

    Attributes:
        config: the bundle's, as it runs.
    """

    def __init__(
        self,
        *,
        output_dir: Path,
        metadata: Mapping[str, Any],
        tracking_uri: str | None,
        experiment: str | None,
        tags: Mapping[str, str],
    ) -> None:
        self._output_dir = output_dir
        self._metadata = metadata
        self._tracking_uri = tracking_uri
        self._experiment = experiment or str(metadata.get("name", "medseg"))
        self._tags = tags
        self._tracker: Tracker | None = None
        self._training, self._goes_on_after = uuid.uuid4().hex, 0
        workflow = running_workflow()
        config = {k: v for k, v in workflow.parser.get().items() if k != "_meta_"} if workflow else {}
        self.config = {"bundle": str(metadata.get("name")), **config}  # which `bundle.trained` looks at
        self._loss: dict[str, list[tuple[int, float]]] = {}
        self._scores: dict[str, list[tuple[int, float]]] = {}
        self._painter = ThreadPoolExecutor(max_workers=1)  # a picture takes longer than an iteration

    def attach(self, trainer: Engine, validator: Validator, checkpoint: BestAndLast) -> None:
        """Record `trainer` from its start on; `finish` ends the record."""
        trainer.add_event_handler(Events.STARTED, lambda _: self.start())
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)
        validator.add_event_handler(Events.COMPLETED, self._validated, trainer)
        self._checkpoint = checkpoint

    def start(self) -> None:
        """Open the MLflow run, or go on with it and send it what it lacks."""
        own = {**self.config, "tracking_uri": without_user(self._tracking_uri) if self._tracking_uri else None}
        self._checkpoint.describe = partial(
            write_text, self._output_dir / "config.yaml", yaml.safe_dump(own, sort_keys=False)
        )
        public = public_config(self.config)
        self._tracker = Tracker.start(
            experiment=self._experiment,
            tracking_uri=self._tracking_uri,
            params=public,
            tags={
                "bundle": str(self._metadata.get("name")),
                "bundle_version": str(self._metadata.get("version")),
                "medseg_version": __version__,
                **_git_commit(),
                **self._tags,
            },
            training=self._training,
            goes_on_after=self._goes_on_after,
        )
        self._tracker.text("config.yaml", yaml.safe_dump(public, sort_keys=False))
        self._tracker.text("environment.txt", _environment())
        for name, points in {**self._loss, **self._scores}.items():
            for epoch, value in points:
                self._tracker.metrics({_in_mlflow(name): value}, epoch=epoch)

    def _epoch(self, trainer: Engine) -> None:
        loss = trainer.state.metrics["train_loss"]
        self._loss.setdefault("train_loss", []).append((trainer.state.epoch, loss))
        if self._tracker is not None:
            values = {name: trainer.state.metrics[name] for name in _EPOCH_METRICS}
            self._tracker.metrics(values, epoch=trainer.state.epoch)

    def _validated(self, validator: Validator, trainer: Engine) -> None:
        epoch = trainer.state.epoch
        for name, value in validator.state.metrics.items():
            self._scores.setdefault(name, []).append((epoch, value))
        if self._tracker is not None:
            self._tracker.metrics(
                {_in_mlflow(name): value for name, value in validator.state.metrics.items()}, epoch=epoch
            )
        if validator.shown:
            self._painter.submit(self._picture, list(validator.shown), epoch)

    def _picture(self, shown: list[dict[str, Any]], epoch: int) -> None:
        panels = [
            Panel(title=f"validation case {index + 1}", **arrays)  # a number: case names may name a patient
            for index, arrays in enumerate(shown)
        ]
        path = self._output_dir / "pictures" / f"validation_epoch_{epoch:04d}.png"
        try:
            figure = contact_sheet(
                panels,
                colours=class_colours(self._metadata),
                class_names=class_names(self._metadata),
                title=f"epoch {epoch}",
            )
            save(figure, path)
            if self._tracker is not None:
                self._tracker.artifact(path, "validation")
        except Exception as error:  # a picture must not end a training
            _log.warning(f"no picture of epoch {epoch}: {error}")

    def _learning_curves(self) -> None:
        path = self._output_dir / "pictures" / "learning_curves.png"
        if not self._loss:
            return
        try:
            save(learning_curves(self._loss, self._scores, title=str(self._metadata.get("name"))), path)
            if self._tracker is not None:
                self._tracker.picture(path)
        except Exception as error:  # a picture must not end a training
            _log.warning(f"no learning curves: {error}")

    @property
    def run_id(self) -> str | None:
        """Of the MLflow run; None where there is none."""
        return self._tracker.run_id if self._tracker is not None else None

    def state_dict(self) -> dict[str, Any]:
        """The curves so far, and what the MLflow run is found by."""
        return {"loss": self._loss, "scores": self._scores, "training": self._training}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with both."""
        self._loss, self._scores, self._training = state["loss"], state["scores"], state["training"]
        self._goes_on_after = max(epoch for epoch, _ in self._loss["train_loss"])

    def finish(self, status: Literal["FINISHED", "KILLED", "FAILED"]) -> None:
        """Send what is still to be sent, mark the MLflow run, and tell how to look at it."""
        self._painter.shutdown(wait=True, cancel_futures=status != "FINISHED")
        self._learning_curves()
        if self._tracker is None:
            return
        best = self._checkpoint
        message = None
        if best.best_epoch:
            for path in (best.best_path, best.best_path.with_name(FINGERPRINT)):
                if path.is_file():
                    self._tracker.artifact(path, "model")
            message = f"Trained on every case, without validation, for {best.best_epoch} epochs."
            if not math.isnan(best.best_metric):
                self._tracker.metrics({"best_val_dice": best.best_metric}, epoch=best.best_epoch)
                message = f"Best validation: mean Dice {best.best_metric:.4f} in epoch {best.best_epoch}."
        self._tracker.finish(status, message=message)
        steps = [step for step in (self._tracker.ui_command, self._tracker.url) if step is not None]
        if steps:
            _log.info(f"see the run: {', then open '.join(steps)}")


def _in_mlflow(name: str) -> str:
    """MLflow groups the charts by what is before the /."""
    return f"{KEY_METRIC}/mean" if name == KEY_METRIC else name


def _git_commit() -> dict[str, str]:
    """The commit of the checkout that medseg runs from; nothing where it is installed, or git is not there."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():  # site-packages may lie in somebody else's checkout
        return {}
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": done.stdout.strip()}


def _environment() -> str:
    packages = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower)
    return (
        "\n".join([f"# Python {platform.python_version()} on {platform.system()} {platform.machine()}", *packages])
        + "\n"
    )
