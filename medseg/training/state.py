"""What a training needs to go on where it was interrupted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine
from monai.data import set_rnd

from medseg.bundle.weights import save_state
from medseg.errors import BundleError, ConfigError, reason
from medseg.training.prepare import rank, world_size

_log = logging.getLogger(__name__)

# What does not change what is learned: where things are, and on what it is computed. Of the trainer's own too.
_MAY_DIFFER = frozenset(
    (
        *("bundle_root", "dataset_dir", "output_dir", "tracking_uri", "experiment"),
        *("device", "precision", "distributed", "num_workers", "resume"),
    )
)
_TRAINER = "train::trainer::"
_NAMED = 5


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
    by bit the one that was never interrupted. The scale of float16's gradients is found anew.

    Args:
        path: of the file.
        parts: the trainer's, by name.
        settings: what it was started with, such as the bundle's config; it goes on with the same only.
    """

    def __init__(self, path: Path, parts: Mapping[str, Part], settings: Mapping[str, Any]) -> None:
        self._path = path
        self._parts = parts
        self._settings = dict(_ids(settings))

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
            ConfigError: for a training with other settings, or weights without a state.
        """
        if not self._path.is_file():
            weights = [path for path in self._path.parent.glob("*.pt") if path != self._path]
            if weights:
                raise ConfigError(
                    f"{weights[0]}: there are weights, but no state to go on from; choose another --output_dir, or "
                    "leave --resume out to replace them"
                )
            _tell(f"nothing to go on with in {self._path.parent}: the training starts anew")
            return
        state = self._read()
        before = state["settings"]
        differing = [id for id in {**before, **self._settings} if before.get(id) != self._settings.get(id)]
        if differing:
            more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
            raise ConfigError(
                f"{self._path}: is of a training with other {', '.join(differing[:_NAMED])}{more}; give what it was "
                "started with, or leave --resume out to start anew"
            )
        try:
            for name, part in self._parts.items():
                part.load_state_dict(state["parts"][name])
        except Exception as error:  # each part has its own words for what does not fit
            raise BundleError(f"{self._path}: does not fit this training: {reason(error)}") from error
        trainer.state.epoch = state["epoch"]
        trainer.state.iteration = state["epoch"] * trainer.state.epoch_length
        seed = torch.initial_seed() + world_size() * state["epoch"]  # which differs between processes
        torch.manual_seed(seed)
        set_rnd(trainer.data_loader.dataset, seed)  # type: ignore[attr-defined]
        _tell(f"goes on after epoch {state['epoch']}")

    def _read(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
            if state.keys() != {"epoch", "settings", "parts"}:
                raise TypeError("it holds something else")
        except Exception as error:
            raise BundleError(
                f"{self._path}: not a readable state of a training ({reason(error)}); leave --resume out to start anew"
            ) from error
        return state


def _ids(settings: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every value as text by the id that it has in a config, such as `train::trainer::batch_size`."""
    if not isinstance(settings, Mapping):
        yield place, json.dumps(settings, default=str, sort_keys=True)
        return
    for name, value in settings.items():
        id = f"{place}::{name}" if place else str(name)
        if id.removeprefix(_TRAINER) not in _MAY_DIFFER:
            yield from _ids(value, id)


def _tell(text: str) -> None:
    if rank() == 0:
        _log.info(text)
