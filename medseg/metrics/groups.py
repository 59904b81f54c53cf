"""Slices of one patient make one volume: a score of patients, not of slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medseg.metrics.overlap import dice

Kind = TypeVar("Kind", bound=np.generic)


def stack_groups(groups: Sequence[str], slices: Sequence[NDArray[Kind]]) -> dict[str, NDArray[Kind]]:
    """Stack the slices of each group along a new first axis, in the order in which they are given.

    Args:
        groups: of each slice, such as its patient.
        slices: 2D, of one shape within a group.

    Returns:
        Group -> volume of slices x rows x columns, in the order in which the groups first occur.

    Raises:
        ValueError: if groups and slices differ in number, or the slices of a group in shape.
    """
    members: dict[str, list[NDArray[Kind]]] = {}
    for group, each in zip(groups, slices, strict=True):
        members.setdefault(group, []).append(each)
    for group, stack in members.items():
        if len(shapes := {each.shape for each in stack}) > 1:
            raise ValueError(f"the slices of {group} have several shapes: {sorted(shapes)}")
    return {group: np.stack(stack) for group, stack in members.items()}


def dice_per_group(
    groups: Sequence[str], labels: Sequence[NDArray[np.bool_]], segmentations: Sequence[NDArray[np.bool_]]
) -> dict[str, float]:
    """The Dice of each group's volume: of all its slices together, not the mean of theirs.

    As the study of lower-grade gliomas scores its patients (Buda et al. 2019, "Association of genomic
    subtypes of lower-grade gliomas with shape features automatically extracted by a deep learning
    algorithm"): slices without a tumour count by what is found in them by mistake, and not with a score
    of their own.

    Args:
        groups: of each slice, such as its patient.
        labels: true masks, 2D, of one shape within a group.
        segmentations: predicted masks, likewise.

    Returns:
        Group -> Dice, NaN where label and segmentation are both empty, in the order of `stack_groups`.

    Raises:
        ValueError: if the three differ in number, or the slices of a group in shape.
    """
    true, mine = stack_groups(groups, labels), stack_groups(groups, segmentations)
    for group, volume in true.items():
        if volume.shape != mine[group].shape:
            raise ValueError(f"label {volume.shape} and segmentation {mine[group].shape} of {group} do not fit")
    return {group: dice(volume, mine[group]) for group, volume in true.items()}
