"""The weights that a training run leaves: the best and the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
        folder: where the two files go.
        network: whose weights.
        validator: the engine whose `state.metrics[key]` decides; larger is better.

    Attributes:
        describe: called when the first weights are about to be saved, to write what is said of them.
    """

    def __init__(self, folder: Path, network: torch.nn.Module, validator: Engine, key: str) -> None:
        self.best_path = folder / "model.pt"
        self.last_path = folder / "last.pt"
        self.best_metric = float("nan")
        self.best_epoch = 0
        self._network = network
        self._validator = validator
        self._key = key
        self.describe: Callable[[], None] = lambda: None

    def attach(self, trainer: Engine) -> None:
        """Save whenever the validator completes a validation of `trainer`."""
        self._validator.add_event_handler(Events.COMPLETED, self._save, trainer)

    def save_unmeasured(self, trainer: Engine) -> None:
        """Take the weights as they are for the best, where no case is left to validate on."""
        self._take_the_place_of_an_earlier_run()
        self.best_epoch = trainer.state.epoch
        for path in (self.last_path, self.best_path):
            save_weights(self._network, path)

    def _save(self, _validator: Engine, trainer: Engine) -> None:
        self._take_the_place_of_an_earlier_run()
        save_weights(self._network, self.last_path)
        metric = float(self._validator.state.metrics[self._key])
        if self.best_epoch == 0 or metric > self.best_metric:
            self.best_metric, self.best_epoch = metric, trainer.state.epoch
            save_weights(self._network, self.best_path)

    def _take_the_place_of_an_earlier_run(self) -> None:
        if self.best_epoch:
            return
        for name in (self.best_path.name, self.last_path.name, decision.FILE_NAME, fingerprint.FILE_NAME):
            self.best_path.with_name(name).unlink(missing_ok=True)
        self.describe()
