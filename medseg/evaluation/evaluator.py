"""A trained model measured on labelled cases, on the grid of the scan and by the way that users go."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from monai.inferers import Inferer
from numpy.typing import NDArray

from medseg.bundle.metadata import label_regions
from medseg.data.check import wrong_classes
from medseg.errors import DatasetError, MedsegError
from medseg.evaluation.evaluation import Evaluation
from medseg.evaluation.measures import Compared, Measure
from medseg.evaluation.recording import record
from medseg.images import Image, LabelCoding, read_label, read_label_parts
from medseg.images.reader import LabelReader
from medseg.inference import Predictor
from medseg.inference.batch.batch import Batch
from medseg.inference.batch.rows import CaseRow
from medseg.inference.postprocessing.steps import VoxelSize
from medseg.inference.restoring.to_source_grid import ToSourceGrid
from medseg.inference.scan import Segmented
from medseg.inference.stages import Stages
from medseg.pictures import difference_picture, save, save_picture

_log = logging.getLogger(__name__)


class Evaluator(Predictor):
    """A `Predictor` that compares every segmentation with the label file under the entry's `truth`.

    Writes `cases.csv` and `summary.json` (see `Evaluation`) instead of a prediction's rows, of pictures
    `pictures/NAME_difference.png`, the measures' figures, and the label maps and previews only where
    `save_segmentations` is set. Outside of the mask under an entry's `mask` nothing counts.

    Args:
        tolerance_mm: of the surface Dice.
        save_segmentations: whether to write every case's label map, and a preview with both contours.
        measures: name -> what else to measure over all cases; under `measures` in `summary.json`.
        label_reader: how label files tell the classes; None for whole numbers.
        tracking: whether to log the scores and figures to MLflow, as a run of their own.
        tracking_uri: of MLflow; None for `MLFLOW_TRACKING_URI`, else SQLite in the working directory.
        tags: of that run, such as the fold; which `model` was measured is told too (see `batch.identity`).
        others: as of `Predictor`.
    """

    entry_keys = ("image", "truth")

    def __init__(
        self,
        *,
        device: str | torch.device,
        dataset: Dataset,
        network: torch.nn.Module,
        checkpoint: str | Sequence[str] | None,
        inferer: Inferer,
        postprocessing: ToSourceGrid,
        metadata: Mapping[str, Any],
        output_dir: str,
        tolerance_mm: float,
        save_segmentations: bool = False,
        precision: str = "auto",
        backend: str = "auto",
        ram: float | None = None,
        vram: float | None = None,
        coarse: str | Mapping[str, Any] | None = None,
        measures: Mapping[str, Measure] | None = None,
        label_reader: LabelReader | None = None,
        tracking: bool = False,
        tracking_uri: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            device=device,
            dataset=dataset,
            network=network,
            checkpoint=checkpoint,
            inferer=inferer,
            postprocessing=postprocessing,
            metadata=metadata,
            output_dir=output_dir,
            precision=precision,
            backend=backend,
            ram=ram,
            vram=vram,
            coarse=coarse,
        )
        self._regions = label_regions(metadata)
        self._structures = {name: (value,) for value, name in self.class_names.items()} | self._regions
        self.evaluation = Evaluation(self.class_names, tolerance_mm, self._regions)
        self._save = save_segmentations
        self._measures = dict(measures or {})
        self._tracking, self._tracking_uri, self._tags = tracking, tracking_uri, dict(tags or {})
        self._coding = label_reader.coding if label_reader else None
        self._differences: list[Path] = []
        self.make_probabilities = in_memory if self._measures else None

    def check_entry(self, entry: Mapping[str, Any]) -> None:
        """As of `Predictor`, for segmentations that are to be saved; they must not take the place of labels either."""
        if self._save:
            super().check_entry(entry)
            self.files.check_place_of(entry["truth"])

    def open_batch(self, entries: Sequence[Mapping[str, Any]]) -> Batch:
        """The entries: an evaluation is one process's, from its beginning to its end."""
        return Batch([entry["case"] for entry in entries])

    def case(self, entry: Mapping[str, Any], found: Segmented, stages: Stages) -> CaseRow:
        """Compare a segmented case.

        Raises:
            ImageError: if the label does not lie on the scan's grid.
            DatasetError: if it holds values that are none of the bundle's classes, or fits a measure not.
        """
        with stages("read"):
            compared = self.compared(entry, found)
        if found.probabilities is not None:
            for measure in self._measures.values():
                measure.update(compared)
        grid = found.scan.geometry
        has_scale = VoxelSize.of(grid.affine, spatial_dims=found.scan.spatial_dims).content is not None
        size: dict[str, Any] = {"spacing": grid.spacing, "voxel_ml": grid.voxel_volume_ml, "has_scale": has_scale}
        size["axes"] = grid.affine[:3, :3] if grid.is_sheared else None
        self.evaluation.add(compared.case, compared.label, compared.segmentation, **size)
        with stages("write"):
            if self._save:
                self.files.write(entry, found, compared.label)
            if found.scan.spatial_dims == 2:
                self._picture(compared, found)
        return self.row(entry, found, stages)

    def compared(self, entry: Mapping[str, Any], found: Segmented) -> Compared:
        """A segmented case beside what is true of it."""
        grid = found.scan.geometry
        truth = entry["truth"] if isinstance(entry["truth"], list) else [entry["truth"]]
        label = self._class_values(read_label_parts(truth, grid=grid, coding=self._coding), truth[0])
        mask = read_label(entry["mask"], grid=grid, coding=LabelCoding("white")).array > 0 if "mask" in entry else None
        observer = None
        if "observer" in entry:
            observer = self._class_values(
                read_label(entry["observer"], grid=grid, coding=self._coding), entry["observer"]
            )
        counted: Any = True if mask is None else mask
        return Compared(
            case=entry["case"],
            structures=self._structures,
            label=np.where(counted, label, 0),
            segmentation=np.where(counted, found.labels, 0),
            probabilities=np.empty(0, np.float32) if found.probabilities is None else found.probabilities,
            mask=mask,
            observer=observer,
        )

    def _class_values(self, label: Image, path: str) -> NDArray[np.integer[Any]]:
        problem = wrong_classes(label, path, self.class_names)
        if problem is not None:
            raise DatasetError(problem)
        return label.array

    def _picture(self, compared: Compared, found: Segmented) -> None:
        mask = None if compared.mask is None else compared.mask[:, :, 0]
        picture = difference_picture(
            found.scan.brightness[:, :, 0], compared.label[:, :, 0], compared.segmentation[:, :, 0], mask
        )
        self._differences.append(self.output_dir / "pictures" / f"{compared.case}_difference.png")
        save_picture(picture, self._differences[-1])

    def case_failed(self, entry: Mapping[str, Any], error: MedsegError) -> None:
        """Count the case as failed."""
        self.evaluation.add_failure(entry["case"], str(error))

    def finish(self) -> None:
        """Write the scores and what was measured over all cases, and log them.

        Raises:
            DatasetError: at the end, if a measure could not take all that it was given.
        """
        figures = []
        failures: dict[str, str] = {}
        for name, measure in self._measures.items():
            self.evaluation.add_measure(name, measure.compute())
            failures |= measure.failures()
            for file, figure in measure.figures().items():
                figures.append(self.output_dir / "pictures" / f"{file}.png")
                save(figure, figures[-1])
        for what, why in failures.items():
            self.evaluation.add_failure(what, why)
            _log.error(f"{what}  FAILED: {why}")
        self.evaluation.write(self.output_dir)
        if self._tracking:
            record(
                self.evaluation.summary(),
                figures,
                self._differences,
                metadata=self._metadata,
                tags={**self._tags, "model": self._model},
                tracking_uri=self._tracking_uri,
            )
        if failures:
            first, *others = failures.values()
            raise DatasetError(first + (f" ({len(others)} more could not be measured)" if others else ""))


def in_memory(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array for the probabilities of a case, which measures want at once."""
    return np.empty(shape, np.float32)
