"""Whether images and labels fit each other and the classes, asked before a training starts."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.data.datalist import Case
from medseg.data.fit import Kind
from medseg.data.layouts import STRUCTURES
from medseg.errors import DatasetError, ImageError
from medseg.images import Image, LabelCoding, read_geometry, read_label, read_label_parts

_log = logging.getLogger(__name__)

# A label of a large CT takes a gigabyte once decoded.
_MOST_READERS = 8
_NAMELESS = re.compile(r"(label|segment|class|structure)?[ _]?\d*", re.IGNORECASE)
_RENUMBER = (
    "renumber it, or take values by --label_reader::coding '{take: {5: 1}}', which makes class 1 of a 5; "
    "`medseg adapt` makes a bundle for other classes"
)
_HINT = "; is it a black and white mask? give the bundle a label_reader of the coding 'white'"


def check_cases(
    cases: Sequence[Case],
    *,
    class_names: Mapping[int, str],
    coding: LabelCoding | None = None,
    kind: Kind | None = None,
) -> set[str]:
    """Read every label and every image's header, and raise when a case could not be trained on.

    A label's values must be 0 (background) or a key of `class_names`. Image and label must lie on one grid: same
    shape, corners within 1e-3 mm in RAS+.

    Args:
        cases: as `find_cases` gives them.
        class_names: value -> name of the foreground.
        coding: how label files tell the classes; None for whole numbers.
        kind: what every image is to be; None where that is not known.

    Returns:
        The names of the cases whose label is empty: background only.

    Raises:
        DatasetError: names the first offending file, what was found and expected, and how many
            other cases have problems.
    """
    strange: dict[str, list[str]] = {}
    problem = partial(_problem, class_names=class_names, coding=coding, kind=kind, strange=strange)
    readers = min(_MOST_READERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(readers, thread_name_prefix="check") as pool:
        answers = list(pool.map(problem, cases))
    problems = [answer for answer in answers if isinstance(answer, str)]
    if problems:
        others = len(problems) - 1
        more = f" ({others} other case{'s have' if others > 1 else ' has'} problems too)" if others else ""
        raise DatasetError(problems[0] + more)
    if strange:
        (path, names), *rest = sorted((min(paths), names) for names, paths in strange.items())
        more = f", and {rest[0][0]} {rest[0][1]}" if rest else ""
        _log.warning(f"{path}: names {names}{more}; the bundle's names are in brackets: are these the same?")
    return {case.name for case, empty in zip(cases, answers, strict=True) if empty}


def _problem(
    case: Case,
    *,
    class_names: Mapping[int, str],
    coding: LabelCoding | None,
    kind: Kind | None,
    strange: dict[str, list[str]],
) -> str | bool:
    """What is wrong with one case, in words; else whether its label is empty.

    Into `strange` go structures by other names than the bundle's -> the files that have them.
    """
    if not case.labels:
        return f"case {case.name} has no label: add that of {case.images[0]}, or choose another fold"
    try:
        grid = read_geometry(case.images[0])
        for channel in case.images[1:]:
            other = read_geometry(channel)
            if not other.agrees_with(grid):
                return f"{channel} and {case.images[0]} lie on different grids: {other.difference(grid)}"
        unlike = kind.problem(case, grid) if kind else None
        if unlike is not None:
            return unlike
        folder = case.labels[0].parent
        if folder.name == STRUCTURES and (coding is None or coding.values is None):
            return f"{folder}: holds a mask for each structure; add --layer masks, which takes those named as a class"
        label = read_label_parts(case.labels, grid=grid, coding=coding)
        if kind is not None and kind.takes_pixel_sizes():
            own = read_geometry(case.labels[0])
            if not own.agrees_with(grid):
                return f"{case.labels[0]}: tells another size of its pixels than its image does: {own.difference(grid)}"
        observed = None if case.observer is None else read_label(case.observer, grid=grid, coding=coding)
        if case.mask is not None:
            read_label(case.mask, grid=grid, coding=LabelCoding("white"))
    except ImageError as error:
        return str(error)
    wrong = wrong_classes(label, case.labels[0], class_names)
    named = {each.value: each.name for each in label.classes if not _NAMELESS.fullmatch(each.name)}
    others = {v: n for v, n in named.items() if v in class_names and class_names[v].casefold() != n.casefold()}
    if others:
        told = ", ".join(f"{value} '{name}' ('{class_names[value]}')" for value, name in others.items())
        strange.setdefault(told, []).append(str(case.labels[0]))
    if wrong is None and observed is not None:
        wrong = wrong_classes(observed, case.observer, class_names)
    return wrong or not (label.array > 0.5).any()


def wrong_classes(label: Image, path: object, class_names: Mapping[int, str]) -> str | None:
    """What makes the label map of the file at `path` none of a bundle's, in words, or None.

    Args:
        class_names: value -> name of the foreground.
    """
    if label.array.ndim == 4:
        return (
            f"{path}: has {label.array.shape[3]} channels, for structures that may overlap; this bundle gives each "
            "voxel one class: save one map of class values"
        )
    named = {name.casefold(): value for value, name in class_names.items()}
    for each in label.classes:
        expected = named.get(each.name.casefold(), each.value)
        if expected != each.value:
            return f"{path}: '{each.name}' is {each.value} there and {expected} in this bundle; {_RENUMBER}"
    unknown = unknown_values(label.array, {0, *class_names})
    if unknown:
        expected_values = ", ".join(f"{v} ({name})" for v, name in sorted({0: "background", **class_names}.items()))
        return (
            f"{path} holds the value{'s' if len(unknown) > 1 else ''} {_few(unknown)}: expected {expected_values}"
            f"{_HINT if set(np.unique(label.array).tolist()) <= {0, 255} else '; ' + _RENUMBER}"
        )
    return None


def unknown_values(label: NDArray[np.integer[Any]], known: set[int]) -> list[int]:
    """The values of a label map of any shape that are none of `known`, sorted."""
    return sorted(set(np.unique(label).tolist()) - known)


def _few(values: Sequence[int], *, limit: int = 5) -> str:
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(f"{value}" for value in values[:limit]) + more
