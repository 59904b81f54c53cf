"""What one case is like: the numbers that make up a training set's fingerprint, and that a new case is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medseg.class_boxes import class_boxes
from medseg.images import Geometry
from medseg.inference.postprocessing.components import component_sizes
from medseg.inference.scan import Scan
from medseg.voxel_samples import evenly_spaced, values_inside

PERCENTILES = (0.5, 50.0, 99.5)
_SPECK = 0.01
_SIDES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
_PICTURE_SIDES = (("left", "right"), ("upper", "lower"))


@dataclass(frozen=True)
class ClassFacts:
    """One class of a label map.

    Attributes:
        size: mL; of a picture, pixels.
        components: pieces connected by faces, without specks of less than 1 % of the class.
        sides: of the volume that the class touches: left, right, posterior, anterior, inferior, superior of the
            patient; left, right, upper, lower of a picture.
        brightness: per channel the share of the image's voxels that are darker than this class's median.
    """

    size: float
    components: int
    sides: tuple[str, ...]
    brightness: tuple[float, ...]


@dataclass(frozen=True)
class CaseFacts:
    """A scan and its label map in numbers; nothing in it tells whose they are.

    Attributes:
        spatial_dims: 2 for a picture, else 3.
        modality: such as CT, or "".
        spacing: mm along the axes that run nearest to left-right, posterior-anterior, inferior-superior; empty for a
            picture, whose files seldom tell the truth of it.
        extent: mm along the same axes; of a picture, pixels along i, j.
        intensities: per channel the percentiles `PERCENTILES` of the image as it was read.
        classes: by name, those that were found.
    """

    spatial_dims: int
    modality: str
    spacing: tuple[float, ...]
    extent: tuple[float, ...]
    intensities: tuple[tuple[float, ...], ...]
    classes: Mapping[str, ClassFacts]

    @classmethod
    def of(cls, scan: Scan, labels: NDArray[Any], class_names: Mapping[int, str]) -> CaseFacts:
        """The facts of a scan and class values `(i, j, k)` on its grid."""
        geometry = scan.geometry
        order = _axes_by_patient(geometry) if scan.spatial_dims == 3 else [0, 1]
        spacing = tuple(geometry.spacing[axis] for axis in order) if scan.spatial_dims == 3 else ()
        extent = tuple(geometry.shape[axis] * (geometry.spacing[axis] if spacing else 1.0) for axis in order)
        samples = [np.sort(evenly_spaced(channel), axis=None) for channel in scan.array]
        return cls(
            spatial_dims=scan.spatial_dims,
            modality=scan.modality,
            spacing=spacing,
            extent=extent,
            intensities=tuple(tuple(np.percentile(each, PERCENTILES).tolist()) for each in samples),
            classes=_classes(scan, labels, class_names, samples),
        )


def _classes(
    scan: Scan, labels: NDArray[Any], class_names: Mapping[int, str], samples: list[NDArray[Any]]
) -> dict[str, ClassFacts]:
    found = {value: box for value, box in class_boxes(labels).items() if value in class_names}
    sizes = dict(zip(found, component_sizes(labels, [(value,) for value in found]), strict=True))
    return {
        class_names[value]: _class(scan, labels[box] == value, box, sizes[value], samples)
        for value, box in found.items()
    }


def _class(
    scan: Scan,
    mask: NDArray[np.bool_],
    box: tuple[slice, ...],
    sizes: NDArray[np.int64],
    samples: list[NDArray[Any]],
) -> ClassFacts:
    voxels = int(sizes.sum())
    values = [values_inside(channel[box], mask) for channel in scan.array]
    darker = [np.searchsorted(all, np.median(mine)) / len(all) for mine, all in zip(values, samples, strict=True)]
    return ClassFacts(
        size=voxels * (scan.geometry.voxel_volume_ml if scan.spatial_dims == 3 else 1),
        components=int(np.count_nonzero(sizes >= _SPECK * voxels)),
        sides=tuple(_touched(box, scan)),
        brightness=tuple(map(float, darker)),
    )


def _touched(box: tuple[slice, ...], scan: Scan) -> list[str]:
    """The sides that a box of indices reaches; an axis of one voxel has none."""
    shape, names = scan.geometry.shape, _sides(scan)
    reached = []
    for axis, (low, high) in names.items():
        if shape[axis] > 1:
            reached += [low] * (box[axis].start == 0) + [high] * (box[axis].stop == shape[axis])
    return reached


def _sides(scan: Scan) -> dict[int, tuple[str, str]]:
    """Of every axis of the array the names of its first and its last side."""
    if scan.spatial_dims == 2:
        return dict(enumerate(_PICTURE_SIDES))
    world = nib.orientations.io_orientation(scan.geometry.affine)
    names = {axis: _SIDES[int(to)] for axis, (to, _) in enumerate(world)}
    return {axis: pair if world[axis, 1] > 0 else (pair[1], pair[0]) for axis, pair in names.items()}


def _axes_by_patient(geometry: Geometry) -> list[int]:
    """The array's axes in the order left-right, posterior-anterior, inferior-superior, each to its nearest."""
    order: list[int] = np.argsort(nib.orientations.io_orientation(geometry.affine)[:, 0]).tolist()
    return order
