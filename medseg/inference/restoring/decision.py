"""From class probabilities to labels: what was chosen on validation cases, kept beside the weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from numpy.typing import NDArray

from medseg.errors import BundleError
from medseg.files import write_text
from medseg.inference.postprocessing.steps import Postprocessing, VoxelSize
from medseg.types import LabelClass

_log = logging.getLogger(__name__)
FILE_NAME = "decision.json"


@dataclass(frozen=True)
class Decision:
    """Which class a pixel belongs to.

    A class is a candidate where its probability reaches its threshold; of several the one with the highest
    ratio of probability to threshold wins, and where there is none the background does. Without thresholds the
    most probable class wins, background included. A class with priority wins wherever its probability reaches that,
    whatever the others'. All this is decided voxel by voxel, so any part of an image will do;
    `steps` are for whole label maps: components of fewer pixels than the class's minimum become background.

    Attributes:
        thresholds: class name -> probability; all foreground classes or none.
        minimum_size: class name -> pixels (voxels).
        priority: class name -> probability; of several that reach theirs the first wins. A bundle declares it, so it
            is in no file.
        chosen_on: what the values were chosen on, in words, for the reader of the file.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    minimum_size: Mapping[str, int] = field(default_factory=dict)
    chosen_on: str = ""
    priority: Mapping[str, float] = field(default_factory=dict)

    @property
    def takes_the_most_probable(self) -> bool:
        """Whether nothing but the largest logit counts."""
        return not self.thresholds and not self.priority

    def winners(self, logits: torch.Tensor, classes: Sequence[LabelClass]) -> torch.Tensor:
        """The class of every voxel, `(spatial...)` uint8, of logits `(class, spatial...)`: any part of an image."""
        if self.takes_the_most_probable:
            return _first_largest(logits)
        probabilities = logits.float().softmax(dim=0).cpu().numpy()
        return torch.from_numpy(self._winners(probabilities, classes).astype(np.uint8)).to(logits.device)

    def labels(self, probabilities: NDArray[np.floating[Any]], classes: Sequence[LabelClass]) -> NDArray[np.uint8]:
        """The label map `(spatial...)` of probabilities `(class, spatial...)`, the background first."""
        return self._winners(probabilities, classes).astype(np.uint8)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What is left to be done to the whole label map, as `Postprocessing` takes it."""
        return [{"minimum_voxels": dict(self.minimum_size)}] if self.minimum_size else []

    def _winners(self, probabilities: NDArray[np.floating[Any]], classes: Sequence[LabelClass]) -> NDArray[np.intp]:
        winners: NDArray[np.intp] = probabilities.argmax(axis=0)
        value_of = {each.name: each.value for each in classes}
        if self.thresholds:
            ratios = np.stack([probabilities[each.value] / max(self.thresholds[each.name], 1e-9) for each in classes])
            winners = np.where(ratios.max(axis=0) >= 1, np.array([*value_of.values()])[ratios.argmax(axis=0)], 0)
        for name, least in reversed([*self.priority.items()]):
            winners = np.where(probabilities[value_of[name]] >= least, value_of[name], winners)
        return winners

    def save(self, checkpoint: Path) -> Path:
        """Write `decision.json` beside the weights; returns its path.

        Raises:
            OutputError: if the folder cannot be written.
        """
        path = checkpoint.with_name(FILE_NAME)
        content = {
            "thresholds": {name: float(value) for name, value in self.thresholds.items()},
            "minimum_size": dict(self.minimum_size),
            "chosen_on": self.chosen_on,
        }
        write_text(path, json.dumps(content, indent=2) + "\n")
        return path


def _first_largest(logits: torch.Tensor) -> torch.Tensor:
    """`logits.argmax(dim=0)` as uint8. On a CPU torch and numpy take ten times as long for it as for a maximum."""
    if logits.device.type != "cpu":
        return logits.argmax(dim=0).to(torch.uint8)
    values = logits.float().numpy()
    largest = values.max(axis=0)
    from_behind = np.zeros(largest.shape, dtype=np.uint8)
    for place, each in enumerate(values):
        np.maximum(from_behind, (each == largest) * np.uint8(len(values) - place), out=from_behind)
    return torch.from_numpy(len(values) - from_behind)


def decision_beside(checkpoint: str | Path | Sequence[str] | None, classes: Sequence[LabelClass]) -> Decision:
    """The decision kept beside weights; the most probable class where there is none, or several weights.

    Raises:
        BundleError: if the file is damaged or names other classes.
    """
    if checkpoint is not None and not isinstance(checkpoint, str | Path):
        for each in (Path(one).with_name(FILE_NAME) for one in checkpoint):
            if each.is_file():
                _log.warning(f"{each}: is for these weights alone, not for several; the most probable class wins")
                break
        return Decision()
    path = Path(checkpoint).with_name(FILE_NAME) if checkpoint is not None else None
    if path is None or not path.is_file():
        return Decision()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        decision = Decision(
            {name: float(value) for name, value in content["thresholds"].items()},
            {name: int(value) for name, value in content["minimum_size"].items()},
            str(content.get("chosen_on", "")),
        )
        if not all(0 <= value <= 1 for value in decision.thresholds.values()):
            raise ValueError("a threshold lies outside of 0 to 1")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: no decision that can be read ({error!r}); delete it or tune again") from error
    names = {each.name for each in classes}
    named = set(decision.thresholds) | set(decision.minimum_size)
    if named - names or (decision.thresholds and set(decision.thresholds) != names):
        raise BundleError(f"{path}: is for the classes {sorted(named)}, the bundle has {sorted(names)}; tune again")
    return decision


class Decided(MapTransform):
    """MONAI transform from logits `(class, spatial...)` to the label map `(1, spatial...)` of a decision.

    Args:
        keys: of the logits, on the grid of the file that `image` was read from.
        decision: see there.
        classes: of the bundle.
        postprocessing: what is done to the label map then.
    """

    def __init__(
        self, keys: str, decision: Decision, classes: Sequence[LabelClass], postprocessing: Postprocessing
    ) -> None:
        super().__init__(keys)
        self._decision = decision
        self._classes = tuple(classes)
        self.postprocessing = postprocessing

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits of every key."""
        decided = dict(data)
        for key in self.key_iterator(decided):
            probabilities = torch.as_tensor(decided[key]).float().softmax(dim=0).numpy()
            labels = self._decision.labels(probabilities, self._classes)
            affine = decided["image"].meta["original_affine"]
            labels = self.postprocessing(labels, VoxelSize.of(affine, spatial_dims=labels.ndim))
            decided[key] = torch.from_numpy(labels[None])
        return decided
