"""Scans in, segmentations out: one case after the other, each on its own grid, each with its numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from monai.transforms import Compose
from numpy.typing import NDArray

from medseg.bundle.metadata import class_colours, class_names, label_classes, painted_classes
from medseg.bundle.weights import load_weights
from medseg.device import autocast, check_device, pick_precision, plain_tensor
from medseg.errors import ImageError, MedsegError, OutputError, user_error_in
from medseg.files import check_output_dir
from medseg.images import write_dicom_seg, write_labels, write_volume
from medseg.inference.ensemble import Ensemble
from medseg.inference.facts import CaseFacts
from medseg.inference.fingerprint import fingerprint_beside
from medseg.inference.quality import Tolerances, Verdict, judge, mean_confidence
from medseg.inference.rows import CaseRow, write_rows
from medseg.inference.scan import Scan, Segmented
from medseg.inference.stages import Stages
from medseg.pictures import Panel, contact_sheet, save

_log = logging.getLogger(__name__)


class Predictor(SupervisedEvaluator):
    """MONAI evaluator that segments every case of a dataset and writes what it found.

    For every case `output_dir` receives label values on the scan's own grid (same shape, same affine):
    `NAME.nii.gz`, for a DICOM series also `NAME.dcm` (DICOM SEG), for a picture `NAME.png` in the classes'
    colours; and the preview `NAME_preview.png`. For all together `cases.csv` and `cases.json` with volumes
    (mL), voxels, seconds per stage, warnings of the file, and a `Verdict` with its reasons. A case that fails is
    reported and the others go on; the run then ends with an error.

    Args:
        device: to compute on.
        dataset: `monai.data.Dataset` of `{"image": path, "case": name}` whose transform is a `Compose`
            that begins with `LoadImaged`.
        network: logits `(N, C, window...)` of a window.
        checkpoint: the weights' file, or several for an `Ensemble`; None to use the network as it is.
        inferer: such as `SlidingWindowInferer`.
        postprocessing: to the source grid, and last from logits to labels: `to_source_grid(...)`.
        metadata: of the bundle: class names, colours, expected modality.
        output_dir: made if absent.
        precision: see `medseg.device.pick_precision`.
        save_probabilities: whether to write `NAME_probabilities.nii.gz` too: a channel per class, the
            background first.
        tolerances: name -> value, where `quality.Tolerances` are not to hold.

    Raises:
        ConfigError: for a tolerance that there is not.
        MedsegError: from `run`, naming the first failed case and how many failed.
    """

    def __init__(
        self,
        *,
        device: str | torch.device,
        dataset: Dataset,
        network: torch.nn.Module,
        checkpoint: str | Sequence[str] | None,
        inferer: Inferer,
        postprocessing: Compose,
        metadata: Mapping[str, Any],
        output_dir: str,
        precision: str = "auto",
        save_probabilities: bool = False,
        tolerances: Mapping[str, float] | None = None,
    ) -> None:
        device = check_device(device)
        check_output_dir(output_dir)
        if isinstance(checkpoint, str):
            load_weights(network, checkpoint)
        elif checkpoint is not None:
            network = Ensemble(network, checkpoint)
        super().__init__(
            device=device,
            val_data_loader=range(len(dataset)),
            network=network.to(device).eval(),
            inferer=inferer,
            iteration_update=self._one,
            decollate=False,
        )
        self.logger.disabled = True  # ignite tells of an error that is told once already
        self.dataset = dataset
        self.to_source_grid = postprocessing
        self.output_dir = Path(output_dir)
        self.class_names = class_names(metadata)
        self.rows: list[CaseRow] = []
        self._metadata = metadata
        self._input = metadata["network_data_format"]["inputs"]["image"]
        self._precision = pick_precision(device, precision)
        self._tolerances = Tolerances.given(tolerances)
        self._fingerprint = fingerprint_beside(checkpoint, label_classes(metadata))
        self._has_weights = checkpoint is not None
        self._save_probabilities = save_probabilities
        self.keep_probabilities = save_probabilities

    def run(self) -> None:  # type: ignore[override]
        """Segment every case, write the rows, and raise if one failed."""
        self.rows.clear()
        if self._has_weights and self._fingerprint is None:
            _log.info("no fingerprint.json beside the weights: scans are not compared with what they were trained on")
        super().run()
        self.finish()
        failed = [row for row in self.rows if row.error is not None]
        if failed:
            raise MedsegError(f"{len(failed)} of {len(self.rows)} cases failed; the first: {failed[0].error}")

    def _one(self, _engine: Engine, index: int) -> None:
        entry = self.dataset.data[index]
        stages = Stages()
        try:
            row = self.case(entry, stages)
        except Exception as error:
            mine = user_error_in(error)
            if mine is None or isinstance(mine, OutputError):  # the next case could not be written either
                raise
            self.case_failed(entry, mine)
            row = CaseRow.failed(entry["case"], str(mine), stages.seconds)
        self.rows.append(row)
        _log.info(f"{len(self.rows)}/{len(self.dataset.data)}  {row.line()}")

    def case(self, entry: Mapping[str, Any], stages: Stages) -> CaseRow:
        """Segment one case and write it."""
        found = self.segment(entry, stages)
        with stages("write"):
            self.write(entry, found)
        return self.row(entry, found, stages)

    def case_failed(self, entry: Mapping[str, Any], error: MedsegError) -> None:
        """Called for a case that could not be segmented; its row tells already."""

    def finish(self) -> None:
        """Called after the last case: write the rows."""
        write_rows(self.rows, self.output_dir)

    def row(self, entry: Mapping[str, Any], found: Segmented, stages: Stages) -> CaseRow:
        """What is told of a segmented case."""
        return CaseRow.of(
            entry["case"],
            found.labels,
            class_names=self.class_names,
            voxel_ml=found.scan.geometry.voxel_volume_ml if found.scan.spatial_dims == 3 else None,
            seconds=stages.seconds,
            verdict=self._verdict(found),
            confidence=found.confidence,
            warnings=found.scan.warnings,
        )

    def segment(self, entry: Mapping[str, Any], stages: Stages) -> Segmented:
        """Read one entry's scan and segment it on its own grid.

        Raises:
            ImageError: if the scan cannot be read.
        """
        transform = self.dataset.transform
        with stages("read"):
            data = transform({"image": entry["image"]}, end=1)
            scan = Scan.of(data["image"])
        with stages("preprocess"):
            data = transform(data, start=1)
            self._check_channels(entry, len(data["image"]))
        with stages("network"), torch.no_grad(), autocast(self.state.device, self._precision):
            logits = self.inferer(plain_tensor(data["image"][None], self.state.device), self.network)
            data["pred"] = logits[0].float().cpu()
        with stages("restore"):
            return self._restored(data, scan)

    def _restored(self, data: dict[str, Any], scan: Scan) -> Segmented:
        last = len(self.to_source_grid) - 1
        data = self.to_source_grid(data, end=last)
        probabilities = None
        if self.keep_probabilities:
            probabilities = np.asarray(scan.whole(data["pred"].softmax(dim=0))).transpose(1, 2, 3, 0)
        labels = self.to_source_grid(data, start=last)["pred"]
        confidence = mean_confidence(data["pred"].as_tensor(), np.asarray(labels)[0])
        return Segmented(scan, scan.whole(labels)[0].astype(np.uint8), probabilities, confidence)

    def write(self, entry: Mapping[str, Any], found: Segmented, label: NDArray[Any] | None = None) -> None:
        """Write the label map of one case and its preview, with the true label's contours where known."""
        name, scan, classes = entry["case"], found.scan, label_classes(self._metadata)
        if scan.spatial_dims == 2:
            painted = painted_classes(self._metadata)
            write_labels(self.output_dir / f"{name}.png", found.labels, scan.geometry, classes=painted)
        else:
            write_labels(self.output_dir / f"{name}.nii.gz", found.labels, scan.geometry, classes=classes)
        if self._save_probabilities and found.probabilities is not None:
            write_volume(self.output_dir / f"{name}_probabilities.nii.gz", found.probabilities, scan.geometry)
        if scan.format == "DICOM" and isinstance(entry["image"], str):
            write_dicom_seg(
                self.output_dir / f"{name}.dcm",
                found.labels,
                source=entry["image"],
                classes=classes,
                algorithm_name=self._metadata["name"],
                algorithm_version=self._metadata["version"],
            )
        panel = Panel(
            title=name,
            image=scan.shown(scan.brightness),
            affine=scan.geometry.affine,
            label=None if label is None else scan.shown(label),
            segmentation=scan.shown(found.labels),
        )
        figure = contact_sheet([panel], colours=class_colours(self._metadata), class_names=self.class_names)
        save(figure, self.output_dir / f"{name}_preview.png")

    def _verdict(self, found: Segmented) -> Verdict:
        return judge(
            CaseFacts.of(found.scan, found.labels, self.class_names),
            list(self.class_names.values()),
            fingerprint=self._fingerprint,
            confidence=found.confidence,
            modality=self._input.get("modality", ""),
            tolerances=self._tolerances,
        )

    def _check_channels(self, entry: Mapping[str, Any], found: int) -> None:
        expected = self._input["num_channels"]
        if found != expected:
            what = ", ".join(self._input["channel_def"].values())
            raise ImageError(f"{entry['image']}: has {found} channels; this bundle takes {expected}: {what}")
