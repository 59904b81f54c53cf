"""What a bundle does to a label map once every voxel has its class: steps, declared as a short list.

    steps:
    - {priority: {lesion: 0.3}} # a lesion wherever its probability reaches this, whatever else is likelier
    - {largest: [spleen]} # only the largest component of each
    - {minimum_mm3: {lesion: 50}} # smaller components become background; minimum_mm2 for pictures
    - {minimum_voxels: {lesion: 20}} # the same, voxels (pixels) counted
    - {fill_holes: [liver]} # background that the liver encloses becomes liver
    - {inside: {lesion: liver}, margin_mm: 5} # lesions beside the liver, or at most 5 mm away

Names are classes or regions of the bundle's `metadata.json`; a region counts as one structure. Steps are taken in
their order. Voxels hang together by faces (6 neighbours, 4 in a picture). What is removed becomes background, so
`fill_holes` after `minimum_mm3` turns what was too small for a lesion into liver. The steps see labels and the
size of a voxel and no probabilities: which class wins a voxel is up to `Decision`, and so are the priorities, which
therefore come before all else; of several classes the first has precedence.
"""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.bundle.metadata import label_classes, label_regions
from medseg.errors import BundleError, ImageError
from medseg.inference.postprocessing.components import fill_holes, keep_beside, keep_largest, remove_small

Labels = TypeVar("Labels", bound=NDArray[Any])


@dataclass(frozen=True)
class VoxelSize:
    """How large a voxel is.

    Attributes:
        spacing: mm between neighbours along each axis of the label map.
        content: mm3; of a picture mm2; None for a picture whose file does not tell.
        is_picture: whether there are two axes.
    """

    spacing: tuple[float, ...]
    content: float | None
    is_picture: bool = False

    @classmethod
    def of(cls, affine: ArrayLike, *, spatial_dims: int = 3) -> VoxelSize:
        """From an affine, index -> RAS+ mm, `(n + 1, n + 1)` with an n of `spatial_dims`, or of 3 for pictures too.

        A picture of which no file told a spacing has one of 1 x 1 (see `images.picture`), so that counts as unknown.
        """
        linear = np.asarray(affine, np.float64)[:-1, :-1]
        spacing = tuple(np.linalg.norm(linear, axis=0).tolist())
        if spatial_dims == 3:
            return cls(spacing, float(abs(np.linalg.det(linear))))
        return cls(spacing, None if spacing[:2] == (1, 1) else spacing[0] * spacing[1], is_picture=True)


@dataclass(frozen=True)
class Structure:
    """A class or a region: its name and class values."""

    name: str
    values: tuple[int, ...]


class Step(ABC):
    """One rule, applied to whole label maps."""

    def check(self, voxel: VoxelSize) -> None:  # noqa: B027 - most rules fit every image
        """Whether the rule fits an image, known before there is a label map.

        Raises:
            BundleError: if it does not fit the image's dimensions.
            ImageError: if it needs a spacing that the image's file does not tell.
        """

    @abstractmethod
    def apply(self, labels: NDArray[Any], voxel: VoxelSize) -> None:
        """Change the label map `(i, j, k)` or `(i, j)` of an image that `check` passed, in place."""


@dataclass(frozen=True)
class LargestComponent(Step):
    """Of each structure only the component of most voxels stays."""

    structures: Sequence[Structure]

    def apply(self, labels: NDArray[Any], voxel: VoxelSize) -> None:
        """See `Step`."""
        keep_largest(labels, [each.values for each in self.structures])


@dataclass(frozen=True)
class MinimumSize(Step):
    """Components smaller than their structure's minimum become background.

    Attributes:
        minimum: of each structure.
        unit: "mm3" (volumes), "mm2" (pictures) or "voxels".
    """

    minimum: Sequence[tuple[Structure, float]]
    unit: str = "voxels"

    def check(self, voxel: VoxelSize) -> None:
        """See `Step`."""
        self._content(voxel)

    def apply(self, labels: NDArray[Any], voxel: VoxelSize) -> None:
        """See `Step`."""
        content = self._content(voxel) * (1 + 1e-6)  # affines are float32 in files
        structures = [each.values for each, _ in self.minimum]
        remove_small(labels, structures, [math.ceil(minimum / content) for _, minimum in self.minimum])

    def _content(self, voxel: VoxelSize) -> float:
        if self.unit == "voxels":
            return 1
        if voxel.is_picture != (self.unit == "mm2"):
            what, fitting = ("picture", "mm2") if voxel.is_picture else ("volume", "mm3")
            raise BundleError(
                f"postprocessing: minimum_{self.unit}: the image is a {what}; use minimum_{fitting} or minimum_voxels"
            )
        if voxel.content is None:
            raise ImageError("minimum_mm2: the picture's file does not tell its pixel size; use minimum_voxels instead")
        return voxel.content


@dataclass(frozen=True)
class FilledHoles(Step):
    """Background that a structure encloses becomes the structure (of a region, its first class).

    Enclosed is what no way along faces leads out of, in all dimensions of the image; other classes stay.
    """

    structures: Sequence[Structure]

    def apply(self, labels: NDArray[Any], voxel: VoxelSize) -> None:
        """See `Step`."""
        for each in self.structures:
            fill_holes(labels, each.values)


@dataclass(frozen=True)
class Inside(Step):
    """Components of one structure stay only where they border on another, or lie within a margin of it.

    A voxel has one class, so a lesion in the liver lies in no voxel of the liver: it is told by its neighbours.

    Attributes:
        pairs: a structure, and the one that it has to border on.
        margin_mm: largest distance between the centres of two voxels; 0 for shared faces only.
    """

    pairs: Sequence[tuple[Structure, Structure]]
    margin_mm: float = 0

    def check(self, voxel: VoxelSize) -> None:
        """See `Step`."""
        if self.margin_mm > 0 and voxel.content is None:
            raise ImageError("margin_mm: the picture's file does not tell its pixel size; leave out margin_mm")

    def apply(self, labels: NDArray[Any], voxel: VoxelSize) -> None:
        """See `Step`."""
        spacing = voxel.spacing[: labels.ndim]
        for each, of in self.pairs:
            others = tuple(value for value in of.values if value not in each.values)
            keep_beside(labels, each.values, others, margin=self.margin_mm, spacing=spacing)


class Postprocessing:
    """A bundle's steps: `labels = postprocessing(labels, VoxelSize.of(affine))`.

    Args:
        steps: see above, without priorities.
        metadata: of the bundle.

    Raises:
        BundleError: for a step that is none, or a name that the bundle does not have.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]], *, metadata: Mapping[str, Any]) -> None:
        _check_list(steps)
        structures = {each.name: Structure(each.name, (each.value,)) for each in label_classes(metadata)}
        structures |= {name: Structure(name, values) for name, values in label_regions(metadata).items()}
        self.steps = tuple(_Declared(step, structures).step() for step in steps)

    def check(self, voxel: VoxelSize) -> None:
        """Whether all steps fit an image; see `Step.check`."""
        for step in self.steps:
            step.check(voxel)

    def __call__(self, labels: Labels, voxel: VoxelSize) -> Labels:
        """The label map `(i, j, k)` or `(i, j)` after all steps; the given one stays as it is.

        Raises:
            MedsegError: as `check`.
        """
        self.check(voxel)
        if self.steps:
            labels = labels.copy(order="K")
        for step in self.steps:
            step.apply(labels, voxel)
        return labels


def priority_first(steps: Sequence[Any], metadata: Mapping[str, Any]) -> tuple[dict[str, float], Sequence[Any]]:
    """The priorities, class name -> probability, that the first step declares, if it does, and the other steps.

    Raises:
        BundleError: for steps that are no list, a class that the bundle does not have, or what is no probability.
    """
    _check_list(steps)
    step = next(iter(steps), None)
    if not isinstance(step, Mapping) or list(step) != ["priority"]:
        return {}, steps
    given, where = step["priority"], f"postprocessing: {step}"
    classes = [each.name for each in label_classes(metadata)]
    if not isinstance(given, Mapping) or not given:
        raise BundleError(f"{where}: expected a class and the probability from which it has precedence")
    for name, least in given.items():
        if name not in classes:
            raise BundleError(f"{where}: '{name}' is no class; there are {sorted(classes)}")
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0 < least <= 1:
            raise BundleError(f"{where}: {name}: expected a probability above 0 and up to 1, found {least!r}")
    return dict(given), steps[1:]


def _check_list(steps: object) -> None:
    if isinstance(steps, str | Mapping) or not isinstance(steps, Sequence):
        raise BundleError(f"postprocessing: expected a list of steps such as {{largest: [NAME]}}, found {steps!r}")


class _Declared:
    """One step as a config has it, to be checked and built."""

    def __init__(self, step: Any, structures: Mapping[str, Structure]) -> None:
        self._where = f"postprocessing: {step}"
        self._structures = structures
        self._given = step
        self._kinds: dict[str, Callable[[Any], Step]] = {
            "largest": lambda given: LargestComponent(self._names(given)),
            "minimum_mm3": lambda given: MinimumSize(self._sizes(given), "mm3"),
            "minimum_mm2": lambda given: MinimumSize(self._sizes(given), "mm2"),
            "minimum_voxels": lambda given: MinimumSize(self._sizes(given), "voxels"),
            "fill_holes": lambda given: FilledHoles(self._names(given)),
            "inside": lambda given: Inside(self._pairs(given), self._number(step.get("margin_mm", 0), "margin_mm")),
        }

    def step(self) -> Step:
        """The step.

        Raises:
            BundleError: if it is none.
        """
        kinds = sorted(self._kinds)
        if isinstance(self._given, Mapping) and "priority" in self._given:
            raise BundleError(f"{self._where}: priorities are a step of their own, the first: no label is known before")
        if not isinstance(self._given, Mapping):
            raise BundleError(f"{self._where}: is no step; expected one of {kinds} and its value")
        unknown = [key for key in self._given if key not in self._kinds and key != "margin_mm"]
        if unknown:
            near = difflib.get_close_matches(str(unknown[0]), kinds, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {kinds}"
            raise BundleError(f"{self._where}: no step '{unknown[0]}'; {hint}")
        kind = [key for key in self._given if key in self._kinds]
        if len(kind) != 1:
            raise BundleError(f"{self._where}: has {sorted(kind)}; expected exactly one of {kinds}")
        if "margin_mm" in self._given and kind != ["inside"]:
            raise BundleError(f"{self._where}: margin_mm belongs to 'inside', not to '{kind[0]}'")
        return self._kinds[kind[0]](self._given[kind[0]])

    def _structure(self, name: Any) -> Structure:
        if not isinstance(name, str) or name not in self._structures:
            raise BundleError(f"{self._where}: '{name}' is no class or region; there are {sorted(self._structures)}")
        return self._structures[name]

    def _names(self, given: Any) -> list[Structure]:
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise BundleError(f"{self._where}: expected a list of classes or regions, found {given!r}")
        return [self._structure(name) for name in given]

    def _mapping(self, given: Any, what: str) -> Mapping[Any, Any]:
        if not isinstance(given, Mapping) or not given:
            raise BundleError(f"{self._where}: expected a class or region and {what} of it, found {given!r}")
        return given

    def _sizes(self, given: Any) -> list[tuple[Structure, float]]:
        sizes = self._mapping(given, "the smallest component").items()
        return [(self._structure(name), self._number(size, str(name))) for name, size in sizes]

    def _number(self, given: Any, name: str) -> float:
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
            raise BundleError(f"{self._where}: {name}: expected a number of at least 0, found {given!r}")
        return given

    def _pairs(self, given: Any) -> list[tuple[Structure, Structure]]:
        pairs = []
        for name, of in self._mapping(given, "the surroundings").items():
            inner, outer = self._structure(name), self._structure(of)
            if set(outer.values) <= set(inner.values):
                raise BundleError(f"{self._where}: '{of}' is part of '{name}': nothing is left that it could lie in")
            pairs.append((inner, outer))
        return pairs
