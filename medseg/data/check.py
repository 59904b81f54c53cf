"""Whether images and labels fit each other and the classes, asked before a training starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from medseg.data.datalist import Case
from medseg.errors import DatasetError, ImageError
from medseg.images import read_geometry, read_image

_INTEGER_TOLERANCE = 1e-3
# A label of a large CT takes a gigabyte once decoded.
_MOST_READERS = 8


def check_cases(cases: Sequence[Case], *, class_names: Mapping[int, str]) -> None:
    """Read every label and every image's header, and raise when a case could not be trained on.

    A label's values must be 0 (background) or a key of `class_names`; a float within 1e-3 of one
    counts as it. Image and label must lie on one grid: same shape, corners within 1e-3 mm in RAS+.

    Raises:
        DatasetError: names the first offending file, what was found and expected, and how many
            other cases have problems.
    """
    readers = min(_MOST_READERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(readers, thread_name_prefix="check") as pool:
        answers = list(pool.map(partial(_problem, class_names=class_names), cases))
    problems = [answer for answer in answers if answer is not None]
    if problems:
        others = len(problems) - 1
        more = f" ({others} other case{'s have' if others > 1 else ' has'} problems too)" if others else ""
        raise DatasetError(problems[0] + more)


def _problem(case: Case, *, class_names: Mapping[int, str]) -> str | None:
    """What is wrong with one case, in words, or None."""
    if case.label is None:
        return f"case {case.name} has no label"
    try:
        label = read_image(case.label)
        image_geometry = read_geometry(case.image)
    except ImageError as error:
        return str(error)
    unknown = unknown_values(label.array, {0, *class_names})
    if unknown:
        named = ", ".join(f"{value} ({name})" for value, name in sorted({0: "background", **class_names}.items()))
        return f"{case.label} holds the value{'s' if len(unknown) > 1 else ''} {_few(unknown)}: expected {named}"
    if not label.geometry.agrees_with(image_geometry):
        difference = label.geometry.difference(image_geometry)
        return f"{case.label} and {case.image} lie on different grids: {difference}"
    return None


def unknown_values(label: NDArray[np.generic], known: set[int]) -> list[float]:
    """The values of a label array, of any shape and number type, that are none of `known`, sorted."""
    values = np.unique(label).astype(np.float64)
    nearest = np.array(sorted(known), dtype=np.float64)
    distance = np.abs(values[:, None] - nearest[None, :]).min(axis=1)
    # Written as "not close" so that NaN counts as unknown.
    return [float(value) for value in values[~(distance <= _INTEGER_TOLERANCE)]]


def _few(values: Sequence[float], *, limit: int = 5) -> str:
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(f"{value:g}" for value in values[:limit]) + more
