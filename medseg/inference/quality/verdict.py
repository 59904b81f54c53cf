"""Whether a segmentation can be taken as it is or wants a person's look, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch

from medseg.errors import ConfigError
from medseg.inference.quality.facts import PERCENTILES, CaseFacts, ClassFacts
from medseg.inference.quality.fingerprint import ClassFingerprint, Fingerprint, Range

_AXES = ("left-right", "front-back", "head-feet")
_PICTURE_AXES = ("wide", "high")
_TOLD = 3  # reasons on a line; the table has all


@dataclass(frozen=True)
class Tolerances:
    """How far beyond the training cases a case may lie before a person should look.

    A training set is a sample: its extremes are not those of all patients. What is stated is a judgement, the same
    for every bundle; a bundle says otherwise by `tolerances: {size: 2}` in its inference.yaml.

    Attributes:
        spacing: factor beyond the range; preprocessing resamples, but what was never sampled cannot be brought back.
        extent: factor beyond the range of the field of view, or of a picture's sides.
        intensity: of a CT, whose numbers mean the same everywhere (HU): the share of the training cases' whole range
            by which a percentile may lie beyond its own.
        size: factor beyond the range of a class's volume; normal organs vary by more between populations.
        components: how many more pieces, specks not counted, than any training case had.
        brightness: by how much the rank (0 to 1) of a class's brightness in the image may lie beyond its range.
        border: a class may touch a side of the volume where more than this share of the training cases did.
        confidence: by what factor the doubt (1 - mean confidence) may exceed that of every validation case.
    """

    spacing: float = 1.5
    extent: float = 1.5
    intensity: float = 0.1
    size: float = 1.25
    components: int = 1
    brightness: float = 0.1
    border: float = 0.05
    confidence: float = 1.5

    def __post_init__(self) -> None:
        for name in ("spacing", "extent", "size", "confidence"):
            if not getattr(self, name) >= 1:
                raise ConfigError(f"tolerances: {name} is {getattr(self, name)}: a factor of at least 1 is expected")

    @classmethod
    def given(cls, values: Mapping[str, float] | Tolerances | None) -> Tolerances:
        """What a config gives, the others as they are.

        Raises:
            ConfigError: for an unknown name or a value that cannot be.
        """
        if values is None or isinstance(values, Tolerances):
            return values or cls()
        known = [each.name for each in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"tolerances: there is no '{unknown[0]}'; there are {', '.join(known)}")
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()):
            raise ConfigError(f"tolerances {dict(values)}: expected numbers")
        return cls(**values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Verdict:
    """`accept`, or `review` with what a person should look at, a sentence for each reason."""

    reasons: tuple[str, ...] = ()

    @property
    def word(self) -> Literal["accept", "review"]:
        """In one word."""
        return "review" if self.reasons else "accept"

    def __str__(self) -> str:
        more = f"; and {len(self.reasons) - _TOLD} more" if len(self.reasons) > _TOLD else ""
        return f"review: {'; '.join(self.reasons[:_TOLD])}{more}" if self.reasons else "accept"


def judge(
    case: CaseFacts,
    class_names: Sequence[str],
    *,
    fingerprint: Fingerprint | None,
    confidence: float | None,
    modality: str = "",
    tolerances: Tolerances | None = None,
    doubts: Sequence[str] = (),
) -> Verdict:
    """Hold a case against what its bundle was trained on.

    Args:
        case: the scan and what was segmented on it.
        class_names: of the bundle's foreground.
        fingerprint: of the training cases; None leaves out what needs one.
        confidence: see `mean_confidence`; None leaves it out.
        modality: that the bundle's metadata name, or "".
        tolerances: see there.
        doubts: reasons that segmenting it has found already.
    """
    limits = tolerances or Tolerances()
    reasons = [*doubts, *_modality(case, modality, fingerprint)]
    if fingerprint is not None and fingerprint.spatial_dims == case.spatial_dims:
        reasons += _image(case, fingerprint, limits, is_ct="CT" in (modality, *fingerprint.modalities))
    for name in class_names:
        found, trained = case.classes.get(name), fingerprint.classes.get(name) if fingerprint else None
        if found is None:
            reasons += _missing(name, fingerprint, trained)
        elif fingerprint is not None and trained is not None:
            unit = "mL" if case.spatial_dims == 3 else "pixels"
            reasons += (f"{name}: {reason}" for reason in _class(found, trained, fingerprint.cases, limits, unit))
        elif fingerprint is not None:
            reasons.append(f"{name} found, and no training case has it")
    if confidence is not None and fingerprint is not None and fingerprint.confidence is not None:
        low, high = fingerprint.confidence
        if 1 - confidence > limits.confidence * (1 - low):
            known = f"{low:.3f} to {high:.3f}"
            reasons.append(f"the network is unsure: mean confidence {confidence:.3f}, on validation cases {known}")
    return Verdict(tuple(reasons))


def mean_confidence(logits: torch.Tensor, labels: torch.Tensor) -> float | None:
    """The mean probability, over the segmented voxels, of the class that each was given; None where there are none.

    Args:
        logits: `(class, spatial...)`, the background first.
        labels: class values `(spatial...)` on the same grid.
    """
    segmented = labels > 0
    if not segmented.any():
        return None
    probabilities = logits[:, segmented].float().softmax(dim=0)
    return float(probabilities.gather(0, labels[segmented].long()[None]).mean())


def _modality(case: CaseFacts, modality: str, fingerprint: Fingerprint | None) -> Iterator[str]:
    known = fingerprint.modalities if fingerprint and fingerprint.modalities else (modality,) if modality else ()
    if case.modality and known and case.modality not in known:
        yield f"the scan's modality is {case.modality}; this bundle was trained on {' and '.join(known)}"
    if fingerprint is not None and fingerprint.spatial_dims != case.spatial_dims:
        kinds = {2: "pictures", 3: "volumes"}
        yield f"this bundle was trained on {kinds[fingerprint.spatial_dims]}, not on {kinds[case.spatial_dims]}"


def _image(case: CaseFacts, fingerprint: Fingerprint, limits: Tolerances, *, is_ct: bool) -> Iterator[str]:
    unit = "mm" if case.spatial_dims == 3 else "pixels"
    for what, mine, known, factor in (
        ("voxels are", case.spacing, fingerprint.spacing, limits.spacing),
        ("the image is", case.extent, fingerprint.extent, limits.extent),
    ):
        axes = zip(_AXES if case.spatial_dims == 3 else _PICTURE_AXES, mine, known, strict=False)
        odd = [(axis, length, span) for axis, length, span in axes if _beyond(length, span, factor)]
        if odd:
            lengths = _listed(f"{_number(length)} {unit} {axis}" for axis, length, _ in odd)
            yield f"{what} {lengths}, in the training cases {_listed(f'{_words(span)} {unit}' for *_, span in odd)}"
    if is_ct:
        yield from _hounsfield(case, fingerprint, limits)


def _hounsfield(case: CaseFacts, fingerprint: Fingerprint, limits: Tolerances) -> Iterator[str]:
    for mine, known in zip(case.intensities, fingerprint.intensities, strict=False):
        room = limits.intensity * (known[-1][1] - known[0][0])
        for percent, value, (low, high) in zip(PERCENTILES, mine, known, strict=True):
            if not low - room <= value <= high + room:
                yield (
                    f"{percent:g} % of the voxels are darker than {value:.0f} HU, in the training cases than "
                    f"{_words((low, high))} HU"
                )


def _missing(name: str, fingerprint: Fingerprint | None, trained: ClassFingerprint | None) -> Iterator[str]:
    if fingerprint is None:
        yield f"no {name} found"
    elif trained is not None and trained.cases == fingerprint.cases:
        yield f"no {name} found, and every training case has it"


def _class(found: ClassFacts, trained: ClassFingerprint, cases: int, limits: Tolerances, unit: str) -> Iterator[str]:
    if _beyond(found.size, trained.size, limits.size):
        yield f"{_number(found.size)} {unit}, the training cases had {_words(trained.size)} {unit}"
    if found.components > trained.components[1] + limits.components:
        yield f"in {found.components} pieces, the training cases had {_words(trained.components)}"
    cut = [side for side in found.sides if trained.sides.get(side, 0) <= limits.border * cases]
    if cut:
        yield f"touches the {_listed(cut)} border of the image, so part of it may be missing"
    for mine, (low, high) in zip(found.brightness, trained.brightness, strict=False):
        if not low - limits.brightness <= mine <= high + limits.brightness:
            yield (
                f"brighter than {100 * mine:.0f} % of the image, in the training cases than "
                f"{100 * low:.0f} to {100 * high:.0f} %"
            )


def _beyond(value: float, known: Range, factor: float) -> bool:
    return not known[0] / factor <= value <= known[1] * factor


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _words(known: Range) -> str:
    low, high = map(_number, known)
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
