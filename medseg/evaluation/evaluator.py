"""A trained model measured on labelled cases, on the grid of the scan and by the way that users go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.data import Dataset
from monai.inferers import Inferer
from monai.transforms import Compose

from medseg.errors import MedsegError
from medseg.evaluation.evaluation import Evaluation
from medseg.images import read_label
from medseg.inference import Predictor
from medseg.inference.rows import CaseRow
from medseg.inference.stages import Stages


class Evaluator(Predictor):
    """A `Predictor` that compares every segmentation with the label file under the entry's `truth`.

    Writes `cases.csv` and `summary.json` (see `Evaluation`) instead of a prediction's rows, and the
    label maps and previews only where `save_segmentations` is set.

    Args:
        tolerance_mm: of the surface Dice.
        save_segmentations: whether to write every case's label map, and a preview with both contours.
        others: as of `Predictor`.
    """

    def __init__(
        self,
        *,
        device: str | torch.device,
        dataset: Dataset,
        network: torch.nn.Module,
        checkpoint: str | None,
        inferer: Inferer,
        postprocessing: Compose,
        metadata: Mapping[str, Any],
        output_dir: str,
        tolerance_mm: float,
        save_segmentations: bool = False,
        precision: str = "auto",
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
        )
        self.evaluation = Evaluation(self.class_names, tolerance_mm)
        self._save = save_segmentations

    def case(self, entry: Mapping[str, Any], stages: Stages) -> CaseRow:
        """Segment one case and compare it.

        Raises:
            ImageError: if the label does not lie on the scan's grid.
        """
        found = self.segment(entry, stages)
        scan = found.scan
        with stages("read"):
            label = read_label(entry["truth"], grid=scan.geometry)
        self.evaluation.add(entry["case"], label.array, found.labels, spacing=scan.geometry.spacing)
        if self._save:
            with stages("write"):
                self.write(entry, found, label.array)
        return self.row(entry, found, stages)

    def case_failed(self, entry: Mapping[str, Any], error: MedsegError) -> None:
        """Count the case as failed."""
        self.evaluation.add_failure(entry["case"], str(error))

    def finish(self) -> None:
        """Write the scores."""
        self.evaluation.write(self.output_dir)
