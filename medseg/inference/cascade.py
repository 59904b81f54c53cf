"""Cascades: a coarse model shows where in a scan a fine one is to look."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialCrop
from numpy.typing import NDArray

from medseg.bundle.metadata import label_classes
from medseg.bundle.run import find_bundle
from medseg.bundle.trained import trained
from medseg.bundle.weights import load_weights
from medseg.class_boxes import structure_box
from medseg.errors import ConfigError
from medseg.inference.batch.identity import model_identity
from medseg.inference.budget import Budget
from medseg.inference.prepared import Prepared
from medseg.inference.restoring.label_map import MakeArray
from medseg.inference.restoring.to_source_grid import to_source_grid
from medseg.inference.scan import Scan, Segmented
from medseg.inference.segmenter import Segmenter, Segments
from medseg.inference.stages import Stages
from medseg.inference.windows.boxes import Box, within

_NOTHING = "the coarse model found nothing, so the whole scan was searched"
_CUT = "the segmentation reaches the border of the region that the coarse model showed, so part of it may be missing"


class Coarse:
    """A bundle's model as a finder of regions.

    Args:
        bundle: its folder, or the name of one that medseg ships.
        checkpoint: its weights; None for those that come with the bundle.
        classes: of the bundle, that count; None for all of them.
        margin_mm: kept on every side of what was found.
        device, precision, backend: as of `Predictor`.
        images: how many scans will come.
        budget: of memory.

    Raises:
        BundleError: if there is no such bundle, or no weights.
        ConfigError: for a class that the bundle has not, or a negative margin.
    """

    def __init__(
        self,
        bundle: str,
        checkpoint: str | None = None,
        classes: Sequence[str] | None = None,
        margin_mm: float = 20.0,
        *,
        device: torch.device,
        precision: str,
        backend: str,
        images: int,
        budget: Budget,
    ) -> None:
        if not isinstance(margin_mm, int | float) or not margin_mm >= 0:
            raise ConfigError(f"coarse margin_mm {margin_mm!r}: expected a number, 0 or more")
        if checkpoint is not None and not isinstance(checkpoint, str):
            raise ConfigError(f"coarse checkpoint {checkpoint!r}: expected the path of one file")
        root = find_bundle(bundle)
        weights = str(root / "models" / "model.pt") if checkpoint is None else checkpoint
        parser = trained(str(root), weights)
        network, metadata = parser.network_def, parser["_meta_"]
        load_weights(network, weights)
        known = {each.name: each.value for each in label_classes(metadata)}
        if classes is not None and not (isinstance(classes, list | tuple) and all(each in known for each in classes)):
            raise ConfigError(f"coarse classes {classes}: expected a list of some of {', '.join(known)}")
        self._margin_mm = margin_mm
        self._values = [known[name] for name in classes or known]
        restoring = to_source_grid(parser.preprocessing, metadata=metadata, checkpoint=weights)
        self._model = model_identity(metadata, network, parser.preprocessing, parser.inferer, restoring.settings)
        self._segmenter = Segmenter(
            parser.preprocessing,
            Prepared(network.to(device).eval(), device=device, precision=precision, backend=backend, images=images),
            parser.inferer,
            restoring,
            metadata=metadata,
            device=device,
            budget=budget,
            whose=f"the coarse bundle {bundle}",
        )

    @property
    def identity(self) -> str:
        """What it is and where it looks, in words; equal ones show the same regions."""
        return f"{self._model}, {self._values}, {self._margin_mm} mm"

    @classmethod
    def given(cls, value: Any, **how: Any) -> Coarse:
        """What a config says: a bundle, or a mapping of the arguments."""
        arguments: dict[str, Any] = dict(value) if isinstance(value, Mapping) else {"bundle": str(value)}
        known = [name for name, each in inspect.signature(cls).parameters.items() if each.kind != each.KEYWORD_ONLY]
        if not arguments.keys() <= set(known) or "bundle" not in arguments:
            raise ConfigError(f"coarse {value}: expected a bundle, or a mapping of {', '.join(known)}")
        return cls(**arguments, **how)

    def region(self, scan: Scan, image: MetaTensor, stages: Stages) -> Box | None:
        """The box of voxels `(i, j, k)` in which what was found lies, with its margin; None if nothing was.

        Args:
            scan: as it was read.
            image: the same as `LoadImaged` made it.
            stages: of the case.

        Raises:
            ImageError: if the scan is none for this bundle.
        """
        labels = self._segmenter.segmented(scan, self._segmenter.prepared(image.clone(), stages), stages).labels
        found = structure_box(labels, self._values)
        if found is None:
            return None
        voxels = np.minimum(np.ceil(self._margin_mm / np.array(scan.geometry.spacing)), scan.geometry.shape)
        margins = voxels.astype(int)
        margins[scan.spatial_dims :] = 0  # a picture's third axis
        grown = (slice(each.start - more, each.stop + more) for each, more in zip(found, margins, strict=True))
        return within(grown, labels.shape)


class Cascade(Segments):
    """A coarse model that shows the region, and a fine one that segments what lies there; the rest is background.

    Where the coarse model finds nothing the fine one sees the whole scan. That is a reason to review the case, and
    so is a segmentation that reaches the border of the region.
    """

    def __init__(self, coarse: Coarse, fine: Segments) -> None:
        self._coarse = coarse
        self._fine = fine

    def prepared(self, image: MetaTensor, stages: Stages) -> MetaTensor:
        """The scan as it is: what is prepared is a region that is not known yet."""
        return image

    def segmented(
        self, scan: Scan, image: MetaTensor, stages: Stages, probabilities: MakeArray | None = None
    ) -> Segmented:
        """First the region, then what lies in it."""
        region = self._coarse.region(scan, image, stages)
        if region is None:
            found = self._fine.segmented(scan, self._fine.prepared(image, stages), stages, probabilities)
            return replace(found, doubts=(_NOTHING,))
        part = _cropped(image, region[: scan.spatial_dims])
        found = self._fine.segmented(Scan.of(part), self._fine.prepared(part, stages), stages, probabilities)
        labels = np.zeros(scan.geometry.shape, np.uint8)
        labels[region] = found.labels
        kept = None
        if probabilities is not None and found.probabilities is not None:
            kept = probabilities((*labels.shape, found.probabilities.shape[-1]))
            kept[..., 0], kept[..., 1:] = 1, 0
            kept[region] = found.probabilities
        doubts = (_CUT,) if _reaches_border(found.labels, region, labels.shape) else ()
        return Segmented(scan, labels, kept, found.confidence, doubts)


def _cropped(image: MetaTensor, region: Box) -> MetaTensor:
    """A region of a scan as a scan of its own."""
    crop = SpatialCrop(roi_start=[each.start for each in region], roi_end=[each.stop for each in region])
    part = cast(MetaTensor, crop(image))
    part.applied_operations = []  # the way back ends here
    part.meta["original_affine"] = part.affine.clone()
    start = np.array([each.start for each in region] + [0] * (3 - len(region)) + [1.0])
    place = np.array(image.meta["volume_affine"])
    part.meta["volume_affine"] = np.column_stack([place[:, :3], place @ start])
    part.meta["spatial_shape"] = np.array(part.shape[1:])
    return part


def _reaches_border(labels: NDArray[np.uint8], region: Box, shape: tuple[int, ...]) -> bool:
    """Whether something lies at a side of the region that is not one of the scan's."""
    return any(
        bool((labels.take(0, axis).any() and each.start > 0) or (labels.take(-1, axis).any() and each.stop < length))
        for axis, (each, length) in enumerate(zip(region, shape, strict=True))
    )
