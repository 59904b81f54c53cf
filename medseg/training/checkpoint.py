"""The weights that a training run leaves: the best and the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from medseg.bundle.weights import save_weights
from medseg.errors import BundleError
from medseg.files import PART
from medseg.inference.quality import fingerprint
from medseg.inference.restoring import decision


class BestAndLast:
    """The two files of a trainer's weights: `last.pt` of its last validation, `model.pt` of the best.

    What an earlier training left in the folder stays, whole, until the first weights are there: one that fails, or is
    stopped early, costs nobody a model, and no weights lie beside what was made for others.

    Args:
        folder: where the two files go, and the state from which the training can go on.
        network: whose weights.
        validator: the engine whose `state.metrics[key]` decides; larger is better.

    Attributes:
        network: as given.
        describe: called when this run's first weights are about to be saved, to write what is said of them.
    """

    def __init__(self, folder: Path, network: torch.nn.Module, validator: Engine, key: str) -> None:
        self.best_path = folder / "model.pt"
        self.last_path = folder / "last.pt"
        self.state_path = folder / "state.pt"
        self.best_metric = float("nan")
        self.best_epoch = 0
        self.network = network
        self._validator = validator
        self._key = key
        self.describe: Callable[[], None] = lambda: None
        self._has_begun = self._goes_on = False

    def attach(self, trainer: Engine) -> None:
        """Judge whenever the validator completes a validation of `trainer`."""
        self._validator.add_event_handler(Events.COMPLETED, self._judge, trainer)

    def _judge(self, _validator: Engine, trainer: Engine) -> None:
        metric = float(self._validator.state.metrics[self._key])
        if self.best_epoch == 0 or metric > self.best_metric:
            self.best_metric, self.best_epoch = metric, trainer.state.epoch

    def take_unmeasured(self, trainer: Engine) -> None:
        """Take the weights as they are for the best, where no case is left to validate on."""
        self.best_epoch = trainer.state.epoch

    def begin(self, epoch: int) -> None:
        """To be called before anything is saved; the first time it clears away what an earlier training left.

        Args:
            epoch: of the weights that are about to be saved.
        """
        if not self._has_begun:
            paths = (self.state_path, self.best_path, self.last_path)
            for path in paths:
                for unfinished in path.parent.glob(f"{PART}*-{path.name}"):  # of a process that was killed
                    unfinished.unlink(missing_ok=True)
            if not self._goes_on:
                for path in (*paths, self.best_path.with_name(fingerprint.FILE_NAME)):
                    path.unlink(missing_ok=True)
            self.describe()
            self._has_begun = True
        if self.best_epoch == epoch:
            self.best_path.with_name(decision.FILE_NAME).unlink(missing_ok=True)  # chosen for other weights

    def save(self, epoch: int) -> None:
        """Write the network's weights as the last ones, and as the best if they are."""
        save_weights(self.network, self.last_path)
        if self.best_epoch == epoch:
            save_weights(self.network, self.best_path)

    def save_again(self, epoch: int) -> None:
        """Write what an interruption may have kept from being written, of a training that goes on after `epoch`.

        Raises:
            BundleError: if the best weights are of an earlier epoch, and gone.
        """
        if self.best_epoch != epoch and not self.best_path.is_file():
            raise BundleError(
                f"{self.best_path}: the best weights, of epoch {self.best_epoch}, are not there any more; "
                "leave --resume out to start anew"
            )
        self.save(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Which weights are the best so far."""
        return {"best_metric": self.best_metric, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with those that are there."""
        self.best_metric, self.best_epoch = state["best_metric"], state["best_epoch"]
        self._goes_on = True
