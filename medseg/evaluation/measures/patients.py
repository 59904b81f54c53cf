"""Slices of one patient scored as the volume that they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as components

from medseg.errors import ConfigError
from medseg.evaluation.measures.measure import Compared, Measure, estimate, mean, number
from medseg.metrics import dice_per_group, stack_groups


class PatientDice(Measure):
    """Per structure the Dice of every patient's volume, stacked of its slices in the order of their names.

    As Buda et al. (2019) score gliomas: all slices of a patient together, after taking only the largest
    component of the volume (connected across faces, edges and corners), where `largest_component` is set.

    A patient whose slices differ in shape makes no volume: it is left out, and `failures` tells of it.

    Args:
        group: a regular expression whose first group, found in a case's name, names the patient.
        largest_component: whether to drop all but the largest.

    Raises:
        ConfigError: if `group` is no regular expression, or has no group.
    """

    def __init__(self, group: str, *, largest_component: bool = False) -> None:
        try:
            groups = re.compile(group).groups
        except re.error as error:
            raise ConfigError(f"PatientDice: {group!r} is no regular expression: {error}") from error
        if groups < 1:
            raise ConfigError(f"PatientDice: {group!r} has no group in (...), which is to find the patient")
        self._group = group
        self._largest = largest_component
        super().__init__()

    def reset(self) -> None:
        """Forget every case."""
        self._slices: dict[str, dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]] = {}

    def update(self, output: Compared) -> None:
        """Add one slice."""
        for name in output.structures:
            pair = output.flat(output.true(name)), output.flat(output.found(name))
            self._slices.setdefault(name, {})[output.case] = pair

    def compute(self) -> dict[str, Any]:
        """Structure -> `dice` (mean over patients) and `patients`: each one's, numbered and not named, None without."""
        return {name: self._of(slices) for name, slices in self._slices.items()}

    def failures(self) -> dict[str, str]:
        """Every patient whose slices differ in shape -> which slice has which."""
        shapes: dict[str, dict[tuple[int, ...], list[str]]] = {}
        for slices in list(self._slices.values())[:1]:  # all structures are of the same slices
            for case in sorted(slices, key=_natural):
                shapes.setdefault(self._patient(case), {}).setdefault(slices[case][0].shape, []).append(case)
        return {patient: _differing(patient, found) for patient, found in shapes.items() if len(found) > 1}

    def _patient(self, case: str) -> str:
        found = re.search(self._group, case)
        return (found.group(1) if found else None) or case

    def _of(self, slices: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> dict[str, Any]:
        without = self.failures()
        cases = [case for case in sorted(slices, key=_natural) if self._patient(case) not in without]
        groups = [self._patient(case) for case in cases]
        true, mine = ([slices[case][side] for case in cases] for side in (0, 1))
        if self._largest:
            kept = {group: _largest(volume) for group, volume in stack_groups(groups, mine).items()}
            seen: dict[str, int] = {}
            for index, group in enumerate(groups):
                mine[index] = kept[group][seen.setdefault(group, 0)]
                seen[group] += 1
        scores = list(dice_per_group(groups, true, mine).values())
        return {"dice": estimate(scores, mean), "patients": [number(each) for each in scores]}


def _differing(patient: str, shapes: Mapping[tuple[int, ...], Sequence[str]]) -> str:
    found = "; ".join(
        f"{' x '.join(map(str, shape))}: {cases[0]}" + (f" and {len(cases) - 1} more" if len(cases) > 1 else "")
        for shape, cases in shapes.items()
    )
    return (
        f"patient {patient}: slices of several shapes make no volume ({found}); bring them to one shape, "
        "leave the odd ones out, or tell series apart by PatientDice's `group`"
    )


def _largest(volume: NDArray[np.bool_]) -> NDArray[np.bool_]:
    numbered, count = components(volume, structure=np.ones((3, 3, 3)))
    if count < 2:
        return volume
    largest: NDArray[np.bool_] = numbered == 1 + int(np.argmax(np.bincount(numbered.ravel())[1:]))
    return largest


def _natural(name: str) -> list[tuple[int, str]]:
    """An order in which slice 9 stands before slice 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
