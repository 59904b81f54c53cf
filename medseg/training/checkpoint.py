"""The weights that a training run leaves: the best and the last."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Engine, Events

from medseg.bundle.weights import save_weights


class BestAndLast:
    """Ignite handler of a trainer: `last.pt` every validation, `model.pt` when the validation is the best yet.

    Args:
        folder: where the two files go.
        network: whose weights.
        validator: the engine whose `state.metrics[key]` decides; larger is better.
    """

    def __init__(self, folder: Path, network: torch.nn.Module, validator: Engine, key: str) -> None:
        self.best_path = folder / "model.pt"
        self.last_path = folder / "last.pt"
        self.best_metric = float("nan")
        self.best_epoch = 0
        self._network = network
        self._validator = validator
        self._key = key

    def attach(self, trainer: Engine) -> None:
        """Save whenever the validator completes a validation of `trainer`."""
        self._validator.add_event_handler(Events.COMPLETED, self._save, trainer)

    def save_unmeasured(self, trainer: Engine) -> None:
        """Take the weights as they are for the best, where no case is left to validate on."""
        self.best_epoch = trainer.state.epoch
        for path in (self.last_path, self.best_path):
            save_weights(self._network, path)

    def _save(self, _validator: Engine, trainer: Engine) -> None:
        save_weights(self._network, self.last_path)
        metric = float(self._validator.state.metrics[self._key])
        if self.best_epoch == 0 or metric > self.best_metric:
            self.best_metric, self.best_epoch = metric, trainer.state.epoch
            save_weights(self._network, self.best_path)
