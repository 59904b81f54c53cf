"""All that a training needs to go on where it was interrupted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine
from monai.data import set_rnd

from medseg.bundle.weights import save_state
from medseg.errors import BundleError, ConfigError, reason

_log = logging.getLogger(__name__)

# What does not change what is learned: where things are, and on what it is computed.
_MAY_DIFFER = frozenset(
    ("bundle_root", "dataset_dir", "output_dir", "tracking_uri", "device", "precision", "distributed", "resume")
)


class Part(Protocol):
    """What a training changes as it goes."""

    def state_dict(self) -> dict[str, Any]:
        """All that has changed since it was made: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take on what `state_dict` gave."""
        ...


class TrainingState:
    """The file in which a trainer leaves its parts and epoch after every validation, and from which they come back.

    The training goes on with the same schedule and other random patches than those that it has seen; it is not bit
    by bit the one that was never interrupted.

    Args:
        path: of the file.
        parts: the trainer's, by name.
        settings: what it was started with, such as the bundle's config; it goes on with the same only.
    """

    def __init__(self, path: Path, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> None:
        self._path = path
        self._parts = parts
        self._settings = {name: value for name, value in settings.items() if name not in _MAY_DIFFER}

    def save(self, trainer: Engine) -> None:
        """Leave the state at the end of an epoch.

        Raises:
            OutputError: if the folder cannot be written or the disk is full.
        """
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        save_state({"epoch": trainer.state.epoch, "settings": self._settings, "parts": parts}, self._path)

    def restore(self, trainer: Engine) -> None:
        """Bring a trainer that has not run yet to where the file says, if there is one.

        Raises:
            BundleError: for a file that cannot be read or does not fit.
            ConfigError: for a training with other settings.
        """
        if not self._path.is_file():
            _log.info(f"nothing to go on with in {self._path.parent}: the training starts anew")
            return
        state = self._read()
        differing = [name for name in {**state["settings"], **self._settings} if self._differs(name, state["settings"])]
        if differing:
            raise ConfigError(
                f"{self._path}: is of a training with other {', '.join(differing)}; give what it was started with, "
                "or leave --resume out to start anew"
            )
        for name, part in self._parts.items():
            try:
                part.load_state_dict(state["parts"][name])
            except (KeyError, RuntimeError, ValueError) as error:
                raise BundleError(f"{self._path}: does not fit this training: {reason(error)}") from error
        trainer.state.epoch = state["epoch"]
        trainer.state.iteration = state["epoch"] * trainer.state.epoch_length
        seed = torch.initial_seed() + state["epoch"]
        torch.manual_seed(seed)
        set_rnd(trainer.data_loader.dataset, seed)  # type: ignore[attr-defined]
        _log.info(f"goes on after epoch {state['epoch']}")

    def _read(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise BundleError(
                f"{self._path}: not a readable state of a training; leave --resume out to start anew"
            ) from error
        return state

    def _differs(self, name: str, settings: Mapping[str, Any]) -> bool:
        nothing = object()
        return bool(self._settings.get(name, nothing) != settings.get(name, nothing))
