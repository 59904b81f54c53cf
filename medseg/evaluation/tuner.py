"""Thresholds and smallest sizes chosen on validation cases, and kept beside the weights they were chosen for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.bundle.metadata import label_classes
from medseg.errors import ConfigError, MedsegError
from medseg.evaluation.evaluator import Evaluator, in_memory
from medseg.evaluation.measures import Compared
from medseg.inference import Decision
from medseg.inference.batch.rows import CaseRow
from medseg.inference.postprocessing.components import remove_small
from medseg.inference.scan import Segmented
from medseg.inference.stages import Stages
from medseg.metrics import Confusion, ScoreHistogram, dice

_log = logging.getLogger(__name__)

_SIZES = (0, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
_THRESHOLDS = tuple(number / 20 for number in range(1, 20))
_MEASURES = {"f_score": "F-score", "dice": "mean Dice"}


@dataclass(frozen=True, eq=False)
class _Seen:
    """What of a case the choice needs: half-precision probabilities `(class, i, j, k)`, the label, the mask."""

    probabilities: NDArray[np.float16]
    label: NDArray[Any]
    mask: NDArray[np.bool_] | None

    def decided(self, decision: Decision, classes: Any) -> NDArray[Any]:
        labels = decision.labels(self.probabilities.astype(np.float32), classes)
        sizes = [decision.minimum_size.get(each.name, 0) for each in classes]
        remove_small(labels, [(each.value,) for each in classes], sizes)
        return labels if self.mask is None else np.where(self.mask, labels, 0)

    def confidence(self, decision: Decision, classes: Any) -> float | None:
        """The mean probability of what a decision draws, small components too, as of a prediction; None without any."""
        labels = decision.labels(self.probabilities.astype(np.float32), classes)
        chosen = np.take_along_axis(self.probabilities, labels[None].astype(np.intp), axis=0)[0][labels > 0]
        return float(chosen.mean(dtype=np.float64)) if chosen.size else None


def _unrounded(threshold: float) -> float:
    """The probability from which on half-precision ones, rounded to the nearest, reach a threshold."""
    reached = np.float16(threshold)
    if float(reached) < threshold:
        reached = np.nextafter(reached, np.float16(np.inf))
    below = np.nextafter(reached, np.float16(-np.inf))
    return max(0.0, (float(reached) + float(below)) / 2)


class Tuner(Evaluator):
    """Chooses a `Decision` on the cases of an evaluation and writes `decision.json` beside the checkpoint.

    The confidence in `fingerprint.json`, if there is one, becomes that of these cases with the new decision.

    Per class the threshold that maximises `measure`; the thresholds replace the most probable class only where the
    mean over classes gets better. Then, if `sizes` are given, per class the smallest size of a component, which
    maximises the mean Dice over cases, an empty image found empty counting 1.

    Args:
        measure: `f_score`, over all pixels of all cases, or `dice`, the same mean Dice, of thresholds 0.05 apart.
        sizes: candidates for the smallest component in pixels (voxels); empty not to choose one.
        chosen_on: in words; goes into the file.
        others: as of `Evaluator`; `checkpoint` must be given.

    Raises:
        ConfigError: without a checkpoint or with several, or for an unknown measure or sizes that are none.
        MedsegError: from `run`, if no case could be segmented, or none holds any class.
    """

    def __init__(
        self, *, measure: str = "f_score", sizes: Sequence[int] = _SIZES, chosen_on: str = "", **others: Any
    ) -> None:
        if others.get("checkpoint") is None:
            raise ConfigError("no checkpoint to choose thresholds for: use --checkpoint OUTPUT_DIR/models/model.pt")
        if not isinstance(others["checkpoint"], str):
            raise ConfigError("several checkpoints: thresholds are chosen for one; give one --checkpoint")
        if isinstance(sizes, str) or not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise ConfigError(f"sizes {sizes!r}: expected whole numbers of pixels such as [0, 10, 100]")
        if measure not in _MEASURES:
            raise ConfigError(f"measure {measure!r}: expected one of {', '.join(_MEASURES)}")
        super().__init__(**others)
        self.make_probabilities = in_memory
        self._checkpoint = Path(others["checkpoint"])
        self._classes = label_classes(others["metadata"])
        self._measure = measure
        self._sizes = tuple(sizes)
        self._chosen_on = chosen_on
        self._seen: list[_Seen] = []

    def case(self, entry: Mapping[str, Any], found: Segmented, stages: Stages) -> CaseRow:
        """Keep what the choice needs of a segmented case."""
        compared: Compared = self.compared(entry, found)
        if not self._budget.has_room_for(compared.probabilities.nbytes):
            raise MedsegError(
                "there is no room for its probabilities beside the others'; give --max_cases or more --ram"
            )
        probabilities = np.moveaxis(compared.probabilities, -1, 0).astype(np.float16)
        self._seen.append(_Seen(probabilities, compared.label, compared.mask))
        return self.row(entry, found, stages)

    def finish(self) -> None:
        """Choose, write, and tell what it brought."""
        if not self._seen:
            raise MedsegError("no case could be segmented, so nothing was chosen")
        if not any(seen.label.any() for seen in self._seen):
            raise MedsegError(f"the labels of all {len(self._seen)} cases are empty, so nothing was chosen")
        before = self._scores(Decision())
        decision = self._with_thresholds(before)
        decision = self._with_sizes(decision)
        after = self._scores(decision)
        told = f"{len(self._seen)} cases{f' of {self._chosen_on}' if self._chosen_on else ''}"
        measure = _MEASURES[self._measure]
        gains = ", ".join(f"{name} {measure} {before[name]:.4f} -> {after[name]:.4f}" for name in before)
        decision = Decision(decision.thresholds, decision.minimum_size, f"{told}: {gains}")
        _log.info(f"{decision.save(self._checkpoint)}: chosen on {decision.chosen_on}")
        self._save_confidence(decision)

    def _save_confidence(self, decision: Decision) -> None:
        """How confidently the cases are segmented now: below a half where a threshold is."""
        found = [sure for seen in self._seen if (sure := seen.confidence(decision, self._classes)) is not None]
        if found and self._fingerprint is not None:
            replace(self._fingerprint, confidence=(min(found), max(found))).save(self._checkpoint)

    def _with_thresholds(self, before: Mapping[str, float]) -> Decision:
        thresholds = {}
        for each in self._classes:
            pooled: ScoreHistogram = reduce(
                add,
                (ScoreHistogram.of(s.label == each.value, s.probabilities[each.value].astype(np.float32), s.mask)
                 for s in self._seen),
            )  # fmt: skip
            threshold = pooled.best_threshold()[0]
            thresholds[each.name] = 0.5 if np.isnan(threshold) else _unrounded(threshold)
        if self._measure == "dice":
            thresholds = self._for_dice(thresholds)
        tuned = Decision(thresholds)
        return tuned if self._mean_score(tuned) > np.mean(list(before.values())) else Decision()

    def _for_dice(self, thresholds: dict[str, float]) -> dict[str, float]:
        """The best of each class in turn, the others as they are by then."""
        for each in self._classes:
            trials = [thresholds | {each.name: value} for value in (thresholds[each.name], *_THRESHOLDS)]
            scores = [self._mean_score(Decision(trial)) for trial in trials]
            thresholds = trials[int(np.argmax(scores))]
        return thresholds

    def _mean_score(self, decision: Decision) -> float:
        return float(np.mean(list(self._scores(decision).values())))

    def _with_sizes(self, decision: Decision) -> Decision:
        sizes: dict[str, int] = {}
        for each in self._classes if self._sizes else ():
            trials = [Decision(decision.thresholds, sizes | {each.name: size}) for size in self._sizes]
            scores = [self._mean_dices(trial)[each.name] for trial in trials]
            best = self._sizes[int(np.argmax(scores))]
            if best > 1:
                sizes[each.name] = best
        return Decision(decision.thresholds, sizes)

    def _scores(self, decision: Decision) -> dict[str, float]:
        """Of every class, the measure."""
        if self._measure == "dice":
            return self._mean_dices(decision)
        totals: dict[str, list[Confusion]] = {}
        for seen in self._seen:
            labels = seen.decided(decision, self._classes)
            for each in self._classes:
                counts = Confusion.of(seen.label == each.value, labels == each.value, seen.mask)
                totals.setdefault(each.name, []).append(counts)
        return {name: float(np.nan_to_num(reduce(add, counts).f_score)) for name, counts in totals.items()}

    def _mean_dices(self, decision: Decision) -> dict[str, float]:
        """Per class, over cases."""
        scores: dict[str, list[float]] = {each.name: [] for each in self._classes}
        for seen in self._seen:
            labels = seen.decided(decision, self._classes)
            for each in self._classes:
                true, mine = seen.label == each.value, labels == each.value
                scores[each.name].append(dice(true, mine) if true.any() or mine.any() else 1.0)
        return {name: float(np.mean(values)) for name, values in scores.items()}
