"""One DICOM series as the volumes it holds.

A series may hold several volumes: localizers in three planes, echoes, time points, a size per detector.
Planes that cannot be one volume are always split (`_APART`); planes at the same places are split by the
first tag, or the first few, that tell exactly as many volumes apart as there are planes at a place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medseg.errors import ImageError
from medseg.images.dicom.frames import Frame
from medseg.images.dicom.headers import LOCALIZER
from medseg.images.dicom.mosaic import is_mosaic
from medseg.images.dicom.pixels import same_pixels
from medseg.images.dicom.slices import normal_of, places

_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-4
_MOST_TAGS = 3  # that it takes to tell volumes apart, such as echo time, part of the complex signal, time


@dataclass(frozen=True, eq=False)
class Part:
    """The planes of one volume, what tells it from the others of its series, and what was dropped."""

    frames: tuple[Frame, ...]
    note: str = ""
    warnings: tuple[str, ...] = ()


def split(frames: Sequence[Frame]) -> list[Part]:
    """The volumes among the planes of one series."""
    frames, dropped = _without_copies(frames)
    parts = []
    for note, group in _apart(frames):
        for finer, members, warnings in _by_marks(group):
            notes = ", ".join(filter(None, [note, finer]))
            parts.append(Part(tuple(members), notes, (*dropped, *warnings)))
    return parts


def _size(frame: Frame) -> str:
    return f"{frame.header.columns} x {frame.header.rows}"


_APART: tuple[tuple[str, Callable[[Frame], str]], ...] = (
    ("", lambda frame: "localizer" if frame.header.kind == LOCALIZER else "image"),
    ("SeriesNumber", lambda frame: str(frame.header.series_number)),
    ("", lambda frame: "colour" if frame.header.samples > 1 else "grey"),
    ("", _size),
    ("mosaic", lambda frame: str(frame.header.instance_number) if is_mosaic(frame.header) else ""),
)


def _apart(frames: Sequence[Frame]) -> Iterable[tuple[str, list[Frame]]]:
    """Planes that may be one volume, with what tells them from the others."""
    columns = [[(name, tell(frame)) for frame in frames] for name, tell in _APART]
    columns.append([("frame of reference", text) for text in _numbered(_reference(frame) for frame in frames)])
    columns.append([("", text) for text in _orientations(frames)])
    columns.append([("spacing", text) for text in _spacings(frames)])
    telling = [column for column in columns if len(set(column)) > 1]
    groups: dict[tuple[tuple[str, str], ...], list[Frame]] = defaultdict(list)
    for index, frame in enumerate(frames):
        groups[tuple(column[index] for column in telling)].append(frame)
    for key, group in groups.items():
        yield ", ".join(f"{name} {text}".strip() for name, text in key), group


def _reference(frame: Frame) -> str:
    return frame.header.values.text("FrameOfReferenceUID")


def _numbered(texts: Iterable[str]) -> list[str]:
    """UIDs as 1, 2, 3: they say nothing to a person."""
    known: dict[str, str] = {}
    return [known.setdefault(text, str(len(known) + 1)) for text in texts]


def _orientations(frames: Sequence[Frame]) -> list[str]:
    """The plane of each frame in words; planes of one name and different angle are numbered."""
    kinds = _clusters([frame.directions for frame in frames], absolute=_SAME_DIRECTION)
    names: dict[int, str] = {}
    for frame, kind in zip(frames, kinds, strict=True):
        if kind not in names:
            name = _plane(frame)
            same = sum(other.split(" (")[0] == name for other in names.values())
            names[kind] = name if not same else f"{name} ({same + 1})"
    return [names[kind] for kind in kinds]


def _plane(frame: Frame) -> str:
    if frame.directions is None:
        return "no orientation"
    with np.errstate(all="ignore"):
        return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(np.nan_to_num(normal_of(frame)))))]


def _spacings(frames: Sequence[Frame]) -> list[str]:
    kinds = _clusters([frame.spacing for frame in frames], relative=_SAME_SPACING)
    names: dict[int, str] = {}
    for frame, kind in zip(frames, kinds, strict=True):
        text = " x ".join(f"{value:.6g}" for value in frame.spacing[::-1]) if frame.spacing else "unknown"
        names.setdefault(kind, text)
    return [names[kind] for kind in kinds]


def _clusters(values: Sequence[tuple[float, ...] | None], *, absolute: float = 0.0, relative: float = 0.0) -> list[int]:
    """For each value the number of the first one that it is near to; None is near to all.

    A plane that does not tell where it lies is no volume of its own: it must not be lost.
    """
    first: list[tuple[float, ...]] = []
    known: dict[tuple[float, ...] | None, int] = {None: 0}
    for value in values:
        if value in known:
            continue
        for number, other in enumerate(first):
            if value is not None and np.allclose(value, other, atol=absolute, rtol=relative):
                known[value] = number
                break
        else:
            if value is not None:
                known[value] = len(first)
                first.append(value)
    return [known[value] for value in values]


def _by_marks(frames: list[Frame]) -> list[tuple[str, list[Frame], tuple[str, ...]]]:
    """Planes without two at one place, where that can be: what tells them apart, the planes, what was dropped."""
    warnings: tuple[str, ...] = ()
    if _some_places_repeat(frames):  # copies rather than volumes
        frames, warnings = _without_equal(frames)
    several = _planes_at_a_place(frames)
    if several < 2:
        return [("", frames, warnings)]
    groups = next(_splits_by_tag(frames, several), None)
    if groups is None:
        left, more = _without_equal(frames)
        if more:
            return [(note, group, (*warnings, *more, *finer)) for note, group, finer in _by_marks(left)]
        groups = _blocks(frames, several) or [("", frames)]
    return [(note, group, warnings) for note, group in groups]


def _some_places_repeat(frames: Sequence[Frame]) -> bool:
    if _planes_at_a_place(frames) < 2:
        return False
    return len(frames) < 2 * len(set(places(frames).tolist()))


def _planes_at_a_place(frames: Sequence[Frame]) -> int:
    if any(frame.position is None or frame.directions is None for frame in frames):
        return 1
    if not np.isfinite(normal_of(frames[0])).all():  # `stack` says so
        return 1
    return int(np.bincount(places(frames)).max())


def _splits_by_tag(frames: Sequence[Frame], several: int) -> Iterator[list[tuple[str, list[Frame]]]]:
    names = list(dict.fromkeys(name for frame in frames for name in frame.marks))
    varying = [name for name in names if len({frame.marks.get(name) for frame in frames}) > 1]
    for count in range(1, _MOST_TAGS + 1):
        for chosen in combinations(varying, count):
            groups: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
            for frame in frames:
                groups[tuple(frame.marks.get(name, "") for name in chosen)].append(frame)
            if len(groups) == several and all(_planes_at_a_place(group) == 1 for group in groups.values()):
                ordered = sorted(groups.items(), key=lambda each: [_natural(text) for text in each[0]])
                yield [(_tags(chosen, key), group) for key, group in ordered]


def _tags(names: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(f"{name} {value or 'absent'}" for name, value in zip(names, values, strict=True))


def _natural(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _blocks(frames: Sequence[Frame], several: int) -> list[tuple[str, list[Frame]]]:
    """Volumes one after the other by InstanceNumber; empty where they are not."""
    numbers = [frame.header.instance_number for frame in frames]
    if None in numbers or len(set(numbers)) < len(numbers) or len(frames) % several or len(frames) == several:
        return []
    ordered = sorted(frames, key=lambda frame: frame.header.instance_number or 0)
    size = len(frames) // several
    blocks = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    if any(_planes_at_a_place(block) > 1 for block in blocks):
        return []
    return [
        (f"InstanceNumber {block[0].header.instance_number}-{block[-1].header.instance_number}", block)
        for block in blocks
    ]


def _without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], tuple[str, ...]]:
    """Every instance once: a file may lie in a folder twice."""
    kept: dict[tuple[object, ...], Frame] = {}
    dropped = []
    for number, frame in enumerate(frames):
        key = (frame.header.instance or number, frame.index)
        first = kept.setdefault(key, frame)
        if first is frame:
            continue
        if first.position != frame.position or not same_pixels(first, frame):
            raise ImageError(
                f"{frame.header.file}: has the SOPInstanceUID of {first.header.file.name} and is another image; "
                "export the series again"
            )
        dropped.append(frame)
    return list(kept.values()), _told(dropped)


def _without_equal(frames: Sequence[Frame]) -> tuple[list[Frame], tuple[str, ...]]:
    """Planes without those that have the pixels of another at their place."""
    kept: dict[int, list[Frame]] = defaultdict(list)
    dropped = []
    for frame, place in zip(frames, places(frames).tolist(), strict=True):
        if any(same_pixels(frame, other) for other in kept[place]):
            dropped.append(frame)
        else:
            kept[place].append(frame)
    gone = {id(frame) for frame in dropped}
    return [frame for frame in frames if id(frame) not in gone], _told(dropped)


def _told(dropped: Sequence[Frame]) -> tuple[str, ...]:
    if not dropped:
        return ()
    count = "an image is" if len(dropped) == 1 else f"{len(dropped)} images are"
    return (f"{count} there twice, and was read once (first {dropped[0].header.file.name})",)
