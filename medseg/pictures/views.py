"""The slices of a case that are worth showing, turned the way radiologists look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from medseg.class_boxes import class_boxes
from medseg.voxel_samples import evenly_spaced, values_inside

# With indices that run to the patient's left, posterior and inferior, a slice drawn with its first
# index to the right and its second downwards is in radiological convention, whichever slice it is.
_RADIOLOGICAL = axcodes2ornt(("L", "P", "I"))
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))
# Times the range of values inside the structures: soft tissue in CT gets a soft tissue window.
_WINDOW_MARGIN = 2.0
# The axes that run right and down, and the one that is cut: axial, coronal, sagittal.
_PLANES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))


@dataclass(frozen=True, eq=False)
class Panel:
    """One case to show: an image of one channel, and what was drawn or predicted on it.

    Attributes:
        title: What stands above the pictures; nothing else is written there.
        image: Shape (i, j, k), or (i, j) for a picture whose i runs right and j down.
        affine: 4 x 4, from voxel index to RAS+ mm; of a 2D image only the pixel size is used.
        label: Class values on the image's grid, or None.
        segmentation: Predicted class values on the image's grid, or None.
        window: The values shown as black and white; by default percentiles 1 and 99 of the image,
            narrowed to what the structures and their surroundings need.

    Raises:
        ValueError: the arrays are neither 2D nor 3D or differ in shape.
    """

    title: str
    image: NDArray[Any]
    affine: NDArray[np.float64]
    label: NDArray[Any] | None = None
    segmentation: NDArray[Any] | None = None
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.image.ndim not in (2, 3):
            raise ValueError(f"panel {self.title!r}: the image has shape {self.image.shape}, not 2D or 3D")
        for role, array in (("label", self.label), ("segmentation", self.segmentation)):
            if array is not None and array.shape != self.image.shape:
                raise ValueError(
                    f"panel {self.title!r}: {role} {array.shape} and image {self.image.shape} differ in shape"
                )


@dataclass(frozen=True, eq=False)
class View:
    """One slice, ready to draw: arrays are (row, column), rows downwards.

    Attributes:
        pixel_mm: Width and height of a pixel.
        window: The values shown as black and white.
        letters: The patient's direction at the left, right, top and bottom edge; empty in 2D.
    """

    image: NDArray[Any]
    label: NDArray[Any] | None
    segmentation: NDArray[Any] | None
    pixel_mm: tuple[float, float]
    window: tuple[float, float]
    letters: tuple[str, str, str, str] | None

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        rows, columns = self.image.shape
        return columns * self.pixel_mm[0], rows * self.pixel_mm[1]


def views_of(panel: Panel) -> list[View]:
    """The axial, coronal and sagittal view of a volume, or the one view of a 2D image.

    Each slice is the one that shows most of the structures, every class counting alike: a plane
    through the centre of mass would pass between the two kidneys.
    """
    window = panel.window or _window(panel)
    spacing = [float(length) for length in np.linalg.norm(panel.affine[:3, :3], axis=0)]
    if panel.image.ndim == 2:
        return [_view(panel, np.transpose, (spacing[0], spacing[1]), window, None)]
    stored = io_orientation(panel.affine)
    turn = partial(apply_orientation, ornt=ornt_transform(stored, _RADIOLOGICAL))
    turned = replace(
        panel,
        image=turn(panel.image),
        label=_map(turn, panel.label),
        segmentation=_map(turn, panel.segmentation),
    )
    spacing = [spacing[axis] for axis in np.argsort(stored[:, 0])]
    centre = _fullest_slices(_structures(turned.label, turned.segmentation), turned.image.shape)
    views = []
    for across, down, through in _PLANES:
        plane = partial(_slice, axis=through, index=centre[through])
        letters = (*_LETTERS[across], *_LETTERS[down])
        views.append(_view(turned, plane, (spacing[across], spacing[down]), window, letters))
    return views


def _view(
    panel: Panel,
    plane: Callable[[NDArray[Any]], NDArray[Any]],
    pixel_mm: tuple[float, float],
    window: tuple[float, float],
    letters: tuple[str, str, str, str] | None,
) -> View:
    label, segmentation = _map(plane, panel.label), _map(plane, panel.segmentation)
    return View(plane(panel.image), label, segmentation, pixel_mm, window, letters)


def _slice(array: NDArray[Any], *, axis: int, index: int) -> NDArray[Any]:
    plane: NDArray[Any] = np.moveaxis(array, axis, 0)[index].T.copy()  # np.take would copy the volume first
    return plane


def _map(change: Callable[[NDArray[Any]], NDArray[Any]], array: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if array is None else change(array)


def _structures(label: NDArray[Any] | None, segmentation: NDArray[Any] | None) -> NDArray[Any] | None:
    """The label, or the segmentation where the label is empty, or None where both are."""
    for array in (label, segmentation):
        if array is not None and array.any():
            return array
    return None


def _fullest_slices(structures: NDArray[Any] | None, shape: tuple[int, ...]) -> list[int]:
    """Per axis the index of the slice that shows most; the middle of several, or of the volume."""
    scores = [np.zeros(length) for length in shape]
    for mask, box in _masks(structures):
        for axis, score in enumerate(scores):
            area = np.count_nonzero(mask, axis=tuple(other for other in range(mask.ndim) if other != axis))
            score[box[axis]] += area / area.max()
    best = [np.flatnonzero(score == score.max()) for score in scores]
    return [int(indices[len(indices) // 2]) for indices in best]


def _masks(structures: NDArray[Any] | None) -> Iterator[tuple[NDArray[np.bool_], tuple[slice, ...]]]:
    """Where each class is, within its bounding box."""
    if structures is None:
        return
    whole = structures if structures.dtype.kind in "iu" else structures.astype(np.int32)
    for value, box in class_boxes(whole).items():
        yield whole[box] == value, box


def _window(panel: Panel) -> tuple[float, float]:
    low, high = _percentiles(panel.image, 1, 99)
    structures = _structures(panel.label, panel.segmentation)
    if structures is not None:
        dark, bright = _percentiles(values_inside(panel.image, structures != 0), 5, 95)
        margin = _WINDOW_MARGIN * (bright - dark)
        if margin > 0:
            low, high = max(low, dark - margin), min(high, bright + margin)
    return low, max(high, float(np.nextafter(low, np.inf)))


def _percentiles(image: NDArray[Any], lower: float, upper: float) -> tuple[float, float]:
    values = evenly_spaced(image)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, (lower, upper))
    return float(low), float(high)
