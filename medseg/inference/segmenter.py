"""A model with everything that carries a scan to its network, and what the network says back to the scan's grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import Compose, Spacingd

from medseg.device import plain_tensor
from medseg.inference.budget import Budget
from medseg.inference.inputs import check_input
from medseg.inference.prepared import Prepared
from medseg.inference.restoring.label_map import MakeArray
from medseg.inference.restoring.to_source_grid import ToSourceGrid
from medseg.inference.scan import Scan, Segmented
from medseg.inference.stages import Stages
from medseg.inference.windows.pieces import pieces_of


class Segments(Protocol):
    """What segments scans in two steps, so that the first can be done for a scan while another is in the second."""

    def prepared(self, image: MetaTensor, stages: Stages) -> MetaTensor:
        """What can be done without the network, with a scan `(channel, i, j[, k])` as `LoadImaged` made it.

        Raises:
            ImageError: if it is none for this bundle.
        """

    def segmented(
        self, scan: Scan, image: MetaTensor, stages: Stages, probabilities: MakeArray | None = None
    ) -> Segmented:
        """The scan's label map after postprocessing.

        Args:
            scan: as it was read.
            image: as `prepared` gave it.
            stages: of the case.
            probabilities: see `Drawing`.

        Raises:
            MedsegError: if memory does not suffice.
        """


class Segmenter(Segments):
    """One model.

    Args:
        preprocessing: of the bundle; its first transform, which loads, is not done here.
        network: on `device`.
        inferer: such as `SlidingWindow`.
        to_source_grid: of the bundle.
        metadata: of the bundle.
        device: to compute on.
        budget: of memory.
        whose: the bundle, in what is told of scans that do not fit.
    """

    def __init__(
        self,
        preprocessing: Compose,
        network: Prepared,
        inferer: Inferer,
        to_source_grid: ToSourceGrid,
        *,
        metadata: Mapping[str, Any],
        device: torch.device,
        budget: Budget,
        whose: str = "this bundle",
    ) -> None:
        self._preprocessing = preprocessing
        self._network = network
        self._inferer = inferer
        self._to_source_grid = to_source_grid
        self._metadata = metadata
        self._device = device
        self._budget = budget
        self._whose = whose

    def prepared(self, image: MetaTensor, stages: Stages) -> MetaTensor:
        """What the network will see `(channel, spatial...)`."""
        with stages("preprocess"):
            self._budget.check_resampling(_voxels_after(self._preprocessing, image), image.meta["filename_or_obj"])
            ready: MetaTensor = self._preprocessing({"image": image}, start=1)["image"]
            check_input(ready, self._metadata, inferer=self._inferer, whose=self._whose)
        return ready

    def segmented(
        self, scan: Scan, image: MetaTensor, stages: Stages, probabilities: MakeArray | None = None
    ) -> Segmented:
        """Windows through the network, and their logits to labels on the scan's grid, in turns."""
        self._to_source_grid.check(scan.geometry.affine, scan.spatial_dims)
        seen, voxels = plain_tensor(image, self._device), math.prod(scan.geometry.shape)
        if hasattr(self._inferer, "memory"):
            self._inferer.memory = self._budget.for_windows(seen, voxels)
        with stages("restore"), torch.inference_mode():
            with stages("network"):
                pieces = pieces_of(self._inferer, seen, self._network)
            self._budget.tell(getattr(self._inferer, "needed", None), voxels)
            drawing = self._to_source_grid.draw(image, stages.each("network", pieces), probabilities=probabilities)
            labels = self._to_source_grid.finished(drawing.labels, scan.geometry.affine)
        kept = drawing.probabilities
        if kept is not None:
            kept = np.moveaxis(scan.whole(np.moveaxis(kept, -1, 0)), 0, -1)
        return Segmented(scan, scan.whole(labels[None])[0], kept, drawing.confidence)


def _voxels_after(preprocessing: Compose, image: MetaTensor) -> float:
    """How many voxels a preprocessing's `Spacingd` makes of an image, whatever the order of its axes."""
    voxels = float(math.prod(image.shape[1:]))
    size = abs(float(torch.det(image.affine[:-1, :-1])))  # mm^3 or mm^2
    for each in preprocessing.transforms:
        if isinstance(each, Spacingd) and "image" in each.keys and (each.spacing_transform.pixdim > 0).all():
            new = float(np.prod(each.spacing_transform.pixdim[: image.ndim - 1]))
            voxels, size = voxels * size / new, new
    return voxels
