"""What a bundle's weights were trained on, in ranges, kept beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medseg.errors import BundleError
from medseg.files import write_text
from medseg.inference.quality.facts import CaseFacts, ClassFacts
from medseg.types import LabelClass

FILE_NAME = "fingerprint.json"

Range = tuple[float, float]


@dataclass(frozen=True)
class ClassFingerprint:
    """One class in the training cases that have it; see `ClassFacts`.

    Attributes:
        cases: how many have it.
        size: mL; of pictures, pixels.
        components: without specks.
        sides: of the volume, each with the number of cases in which the class touches it.
        brightness: per channel.
    """

    cases: int
    size: Range
    components: Range
    sides: Mapping[str, int]
    brightness: tuple[Range, ...]


@dataclass(frozen=True)
class Fingerprint:
    """The lowest and the highest of every number of the training cases; see `CaseFacts`. No case can be told from it.

    Attributes:
        cases: how many were looked at.
        spatial_dims: 2 for pictures, else 3.
        modalities: that the files tell; empty where none does.
        spacing: mm, by axis of the patient; empty for pictures.
        extent: mm, by axis of the patient; of pictures, pixels along i, j.
        intensities: per channel, per percentile.
        classes: by name; one that no case has is not there.
        confidence: see `quality.mean_confidence`; of the validation cases, by the weights that this lies beside; None
            where nothing was validated.
    """

    cases: int
    spatial_dims: int
    modalities: tuple[str, ...]
    spacing: tuple[Range, ...]
    extent: tuple[Range, ...]
    intensities: tuple[tuple[Range, ...], ...]
    classes: Mapping[str, ClassFingerprint]
    confidence: Range | None = None

    @classmethod
    def of(cls, cases: Sequence[CaseFacts]) -> Fingerprint:
        """The fingerprint of at least one case."""
        names = sorted({name for case in cases for name in case.classes})
        return cls(
            cases=len(cases),
            spatial_dims=max(case.spatial_dims for case in cases),
            modalities=tuple(sorted({case.modality for case in cases if case.modality})),
            spacing=_ranges(case.spacing for case in cases),
            extent=_ranges(case.extent for case in cases),
            intensities=tuple(_ranges(each) for each in zip(*(case.intensities for case in cases), strict=False)),
            classes={name: _class([case.classes[name] for case in cases if name in case.classes]) for name in names},
        )

    def save(self, checkpoint: Path) -> Path:
        """Write `fingerprint.json` beside the weights; returns its path.

        Raises:
            OutputError: if the folder cannot be written.
        """
        path = checkpoint.with_name(FILE_NAME)
        rounded = json.loads(json.dumps(asdict(self)), parse_float=lambda text: float(f"{float(text):.5g}"))
        write_text(path, _lists_on_one_line(rounded) + "\n")
        return path


def fingerprint_beside(
    checkpoint: str | Path | Sequence[str] | None, classes: Sequence[LabelClass]
) -> Fingerprint | None:
    """The fingerprint kept beside weights, of several the first ones'; None where there is none.

    Raises:
        BundleError: if the file is damaged or names other classes.
    """
    if checkpoint is None or (not isinstance(checkpoint, str | Path) and not checkpoint):
        return None
    path = Path(checkpoint if isinstance(checkpoint, str | Path) else checkpoint[0]).with_name(FILE_NAME)
    if not path.is_file():
        return None
    try:
        fingerprint = _from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: no fingerprint that can be read ({error!r}); delete it or train again") from error
    unknown = sorted(fingerprint.classes.keys() - {each.name for each in classes})
    if unknown:
        raise BundleError(f"{path}: has the class '{unknown[0]}', which the bundle has not; delete it or train again")
    return fingerprint


def _class(found: Sequence[ClassFacts]) -> ClassFingerprint:
    touched = [side for each in found for side in each.sides]
    return ClassFingerprint(
        cases=len(found),
        size=_range(each.size for each in found),
        components=_range(each.components for each in found),
        sides={side: touched.count(side) for side in sorted(set(touched))},
        brightness=_ranges(each.brightness for each in found),
    )


def _range(values: Iterable[float]) -> Range:
    listed = list(values)
    return min(listed), max(listed)


def _ranges(rows: Iterable[Sequence[float]]) -> tuple[Range, ...]:
    """The range of every column; rows of other lengths end at the shortest."""
    return tuple(_range(column) for column in zip(*rows, strict=False))


def _from_json(content: Mapping[str, Any]) -> Fingerprint:
    return Fingerprint(
        cases=int(content["cases"]),
        spatial_dims=int(content["spatial_dims"]),
        modalities=tuple(map(str, content["modalities"])),
        spacing=_read_ranges(content["spacing"]),
        extent=_read_ranges(content["extent"]),
        intensities=tuple(map(_read_ranges, content["intensities"])),
        classes={
            str(name): ClassFingerprint(
                cases=int(each["cases"]),
                size=_read_range(each["size"]),
                components=_read_range(each["components"]),
                sides={str(side): int(count) for side, count in each["sides"].items()},
                brightness=_read_ranges(each["brightness"]),
            )
            for name, each in content["classes"].items()
        },
        confidence=None if content["confidence"] is None else _read_range(content["confidence"]),
    )


def _read_ranges(pairs: Sequence[Sequence[float]]) -> tuple[Range, ...]:
    return tuple(map(_read_range, pairs))


def _read_range(pair: Sequence[float]) -> Range:
    low, high = pair
    return float(low), float(high)


def _lists_on_one_line(content: Any, indent: str = "") -> str:
    """JSON with a line for every key, which a person can read."""
    if not isinstance(content, dict) or not content:
        return json.dumps(content)
    deeper = indent + "  "
    lines = [f"{deeper}{json.dumps(key)}: {_lists_on_one_line(value, deeper)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
