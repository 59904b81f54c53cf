"""The weights that a training run leaves: the best and the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from medseg.bundle.weights import save_weights
from medseg.inference.quality import fingerprint
from medseg.inference.restoring import decision


class BestAndLast:
    """Ignite handler of a trainer: `last.pt` every validation, `model.pt` when the validation is the best yet.

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
        self._has_saved = False

    def attach(self, trainer: Engine) -> None:
        """Save whenever the validator completes a validation of `trainer`."""
        self._validator.add_event_handler(Events.COMPLETED, self._save, trainer)

    def save_unmeasured(self, trainer: Engine) -> None:
        """Take the weights as they are for the best, where no case is left to validate on."""
        self._begin()
        self.best_epoch = trainer.state.epoch
        save_weights(self.network, self.last_path)
        self._save_best()

    def _save(self, _validator: Engine, trainer: Engine) -> None:
        self._begin()
        save_weights(self.network, self.last_path)
        metric = float(self._validator.state.metrics[self._key])
        if self.best_epoch == 0 or metric > self.best_metric:
            self.best_metric, self.best_epoch = metric, trainer.state.epoch
            self._save_best()

    def _save_best(self) -> None:
        self.best_path.with_name(decision.FILE_NAME).unlink(missing_ok=True)  # chosen for other weights
        save_weights(self.network, self.best_path)

    def _begin(self) -> None:
        if self._has_saved:
            return
        if not self.best_epoch:
            for path in (self.best_path, self.last_path, self.state_path):
                path.unlink(missing_ok=True)
            self.best_path.with_name(fingerprint.FILE_NAME).unlink(missing_ok=True)
        self.describe()
        self._has_saved = True

    def state_dict(self) -> dict[str, Any]:
        """Which weights are the best so far."""
        return {"best_metric": self.best_metric, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with those that are there."""
        self.best_metric, self.best_epoch = state["best_metric"], state["best_epoch"]
