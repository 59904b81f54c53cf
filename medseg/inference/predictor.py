"""Scans in, segmentations out: each case on its own grid and with its numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from numpy.typing import NDArray

from medseg.bundle.metadata import class_colours, class_names, label_classes, painted_classes
from medseg.bundle.weights import load_weights
from medseg.device import check_device, pick_precision, plain_tensor
from medseg.errors import ConfigError, ImageError, MedsegError, OutputError, user_error_in
from medseg.files import check_output_dir, together
from medseg.images import split_series, write_dicom_seg, write_labels, write_volume
from medseg.inference.batch.batch import Batch, SharedBatch
from medseg.inference.batch.identity import model_identity
from medseg.inference.batch.progress import Progress
from medseg.inference.batch.rows import CaseRow
from medseg.inference.batch.shard import Shard
from medseg.inference.budget import Budget
from medseg.inference.ensemble import Ensemble
from medseg.inference.prepared import Prepared
from medseg.inference.quality.facts import CaseFacts
from medseg.inference.quality.fingerprint import fingerprint_beside
from medseg.inference.quality.verdict import Tolerances, Verdict, judge
from medseg.inference.restoring.decision import decision_beside
from medseg.inference.restoring.to_source_grid import ToSourceGrid
from medseg.inference.scan import Scan, Segmented
from medseg.inference.stages import Stages
from medseg.inference.windows.mirrored import Mirrored
from medseg.inference.windows.pieces import pieces_of
from medseg.inference.windows.sliding_window import SlidingWindow
from medseg.pictures import Panel, contact_sheet, save

_log = logging.getLogger(__name__)
_ENGINES = ("local", "ray")
_ENDINGS = (".nii.gz", ".png", ".dcm", "_preview.png", "_probabilities.nii.gz")  # of all that is written of a case


class Predictor(SupervisedEvaluator):
    """MONAI evaluator that segments every case of a dataset and writes what it found.

    For every case `output_dir` receives label values on the scan's own grid (same shape, same affine):
    `NAME.nii.gz`, for a DICOM series also `NAME.dcm` (DICOM SEG), for a picture `NAME.png` in the classes'
    colours; and the preview `NAME_preview.png`. These appear together, the label map last. `results.csv` gets
    a row with volumes (mL), voxels, seconds per stage, warnings of the file, and a `Verdict` with its reasons when
    they are there, `results.json` the same in the end. A case that fails is reported and the others go on; the run
    then ends with an error.

    Several runs may share an `output_dir` at a time, in one machine or many: no case is done by two of them.

    Args:
        device: to compute on.
        dataset: `monai.data.Dataset` of `{"image": path, "case": name}` whose transform is a `Compose`
            that begins with `LoadImaged`.
        network: logits `(N, C, window...)` of a window.
        checkpoint: the weights' file, or several for an `Ensemble`; None to use the network as it is.
        inferer: such as `SlidingWindowInferer`.
        postprocessing: from logits to labels on the source grid: `to_source_grid(...)`.
        metadata: of the bundle: class names, colours, expected modality.
        output_dir: made if absent.
        precision: see `medseg.device.pick_precision`.
        backend: what computes the network: `auto`, or one of `backends.BACKENDS`.
        ram: GB that the process may hold in main memory; None for most of what is free. Windows are chosen so that
            it is kept, where the inferer is `SlidingWindow`.
        vram: the same on a GPU.
        save_probabilities: whether to write `NAME_probabilities.nii.gz` too: a channel per class, the
            background first.
        tolerances: name -> value, where `quality.Tolerances` are not to hold.
        resume: whether to leave out the cases that are complete (see `medseg.inference.batch.results`). Without, every
            case is done anew; to share the work, start every run with it.
        shard: such as `1/4` for the first quarter of the sorted cases; see `Shard.parse`.
        engine: `local`, or `ray` for the cluster that Ray finds (see `medseg.inference.batch.cluster`).

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
        postprocessing: ToSourceGrid,
        metadata: Mapping[str, Any],
        output_dir: str,
        precision: str = "auto",
        backend: str = "auto",
        ram: float | None = None,
        vram: float | None = None,
        save_probabilities: bool = False,
        tolerances: Mapping[str, float] | None = None,
        resume: bool = False,
        shard: str | None = None,
        engine: str = "local",
    ) -> None:
        if engine not in _ENGINES:
            raise ConfigError(f"engine '{engine}': use one of {', '.join(_ENGINES)}")
        if not isinstance(resume, bool):  # the command line gives "false" as a text, which would count as true
            raise ConfigError(f"resume '{resume}': use True or False")
        device = check_device(device)
        check_output_dir(output_dir)
        if isinstance(checkpoint, str):
            load_weights(network, checkpoint)
        elif checkpoint is not None:
            network = Ensemble(network, checkpoint)
        super().__init__(
            device=device,
            val_data_loader=(),
            network=Prepared(
                network.to(device).eval(),
                backend=backend,
                device=device,
                precision=pick_precision(device, precision),
                windows=len(dataset),
            ),
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
        self._tolerances = Tolerances.given(tolerances)
        self._fingerprint = fingerprint_beside(checkpoint, label_classes(metadata))
        self._has_weights = checkpoint is not None
        self._budget = Budget(device, ram, vram)
        self._save_probabilities = save_probabilities
        self.keep_probabilities = save_probabilities
        self._weights = checkpoint
        self._resume, self._shard, self._engine = resume, Shard.parse(shard), engine

    def run(self) -> None:  # type: ignore[override]
        """Segment every case, write the rows, and raise if one failed."""
        if self._has_weights and self._fingerprint is None:
            _log.info("no fingerprint.json beside the weights: scans are not compared with what they were trained on")
        entries = self._shard.of(sorted(self.dataset.data, key=lambda entry: entry["case"]))
        batch = self.open_batch(entries)
        left = batch.missing()
        with Progress(len(entries), done=len(entries) - len(left)) as progress:
            while left:
                self._pass(batch, [entry for entry in entries if entry["case"] in left], progress)
                before, left = left, batch.missing()
                if left == before:  # others have them in hand
                    _log.info(f"{len(left)} cases are left to other processes")
                    break
        self.rows = batch.rows()
        self.finish()
        batch.close()
        failed = [row for row in self.rows if row.error is not None]
        if failed:
            raise MedsegError(f"{len(failed)} of {len(entries)} cases failed; the first: {failed[0].error}")

    def open_batch(self, entries: Sequence[Mapping[str, Any]]) -> Batch:
        """What the output folder knows of these entries."""
        for entry in entries:
            self._check_place(entry["image"])
        decision = decision_beside(self._weights, label_classes(self._metadata))
        return SharedBatch(
            self.output_dir,
            [entry["case"] for entry in entries],
            class_names=self.class_names,
            endings=_ENDINGS,
            model=model_identity(self._metadata, self.network, decision),
            resume=self._resume,
        )

    def _pass(self, batch: Batch, entries: Sequence[Mapping[str, Any]], progress: Progress) -> None:
        if self._engine == "ray":
            from medseg.inference.batch.cluster import run_on_ray

            run_on_ray(batch, entries, progress, self.output_dir)
        else:
            self._batch, self._progress = batch, progress
            self.data_loader, self.state.epoch_length = entries, len(entries)
            super().run()

    def _one(self, _engine: Engine, entry: Mapping[str, Any]) -> None:
        with self._batch.claim(entry["case"]) as mine:
            if mine:
                row = self.attempt(entry)
                self._batch.record(row)
                self._progress.told(row)

    def attempt(self, entry: Mapping[str, Any]) -> CaseRow:
        """Segment one case and write it; if that fails, its row tells why.

        Raises:
            OutputError: if nothing can be written: the next case could not be either.
        """
        stages = Stages()
        try:
            return self.case(entry, stages)
        except Exception as error:
            mine = user_error_in(error)
            if isinstance(mine, OutputError):
                raise
            if mine is None:
                _log.error(f"{entry['case']}: please report this:", exc_info=error)
                mine = MedsegError(f"{entry['image']}: unexpected {type(error).__name__}: {error}")
            self.case_failed(entry, mine)
            return CaseRow.failed(entry["case"], str(mine), stages.seconds)

    def case(self, entry: Mapping[str, Any], stages: Stages) -> CaseRow:
        """Segment one case and write it."""
        found = self.segment(entry, stages)
        with stages("write"):
            files = self.write(entry, found)
        return self.row(entry, found, stages, files)

    def case_failed(self, entry: Mapping[str, Any], error: MedsegError) -> None:
        """Called for a case that could not be segmented; its row tells already."""

    def finish(self) -> None:
        """Called after the last case, when `rows` are known."""

    def row(self, entry: Mapping[str, Any], found: Segmented, stages: Stages, files: Sequence[str] = ()) -> CaseRow:
        """What is told of a segmented case, and of the files that were written of it."""
        return CaseRow.of(
            entry["case"],
            found.labels,
            class_names=self.class_names,
            voxel_ml=found.scan.geometry.voxel_volume_ml if found.scan.spatial_dims == 3 else None,
            seconds=stages.seconds,
            verdict=self._verdict(found),
            confidence=found.confidence,
            warnings=found.scan.warnings,
            files=files,
        )

    def segment(self, entry: Mapping[str, Any], stages: Stages) -> Segmented:
        """Read one entry's scan and segment it on its own grid.

        Raises:
            ImageError: if the scan cannot be read.
        """
        transform = self.dataset.transform
        with stages("read"):
            data = transform({"image": entry["image"]}, end=1)
            scan, affine = Scan.of(data["image"]), data["image"].affine
        with stages("preprocess"):
            data = transform(data, start=1)
            self._check_input(entry, data["image"])
        seen = plain_tensor(data["image"], self.state.device)
        if isinstance(self.inferer, SlidingWindow | Mirrored):
            self.inferer.memory = self._budget.for_windows(seen, math.prod(scan.geometry.shape))
        with stages("restore"), torch.inference_mode():  # takes turns with the network
            pieces = stages.each("network", pieces_of(self.inferer, seen, self.network))
            drawing = self.to_source_grid.draw(data["image"], pieces, keep_probabilities=self.keep_probabilities)
            labels = self.to_source_grid.finished(drawing.labels, affine)
        probabilities = drawing.probabilities
        if probabilities is not None:
            probabilities = np.moveaxis(scan.whole(np.moveaxis(probabilities, -1, 0)), 0, -1)
        return Segmented(scan, scan.whole(labels[None])[0], probabilities, drawing.confidence)

    def write(self, entry: Mapping[str, Any], found: Segmented, label: NDArray[Any] | None = None) -> Sequence[str]:
        """Write the label map of one case and its preview, with the true label's contours where known.

        Returns:
            The names of the files.
        """
        name, scan, classes = entry["case"], found.scan, label_classes(self._metadata)
        panel = Panel(
            title=name,
            image=scan.shown(scan.brightness),
            affine=scan.geometry.affine,
            label=None if label is None else scan.shown(label),
            segmentation=scan.shown(found.labels),
        )
        with together(self.output_dir, name) as place:
            figure = contact_sheet([panel], colours=class_colours(self._metadata), class_names=self.class_names)
            save(figure, place(f"{name}_preview.png"))
            if self._save_probabilities and found.probabilities is not None:
                write_volume(place(f"{name}_probabilities.nii.gz"), found.probabilities, scan.geometry)
            if scan.format == "DICOM" and isinstance(entry["image"], str):
                write_dicom_seg(
                    place(f"{name}.dcm"),
                    found.labels,
                    source=entry["image"],
                    classes=classes,
                    algorithm_name=self._metadata["name"],
                    algorithm_version=self._metadata["version"],
                )
            if scan.spatial_dims == 2:
                painted = painted_classes(self._metadata)
                write_labels(place(f"{name}.png"), found.labels, scan.geometry, classes=painted)
            else:
                write_labels(place(f"{name}.nii.gz"), found.labels, scan.geometry, classes=classes)
        return place.names

    def _verdict(self, found: Segmented) -> Verdict:
        return judge(
            CaseFacts.of(found.scan, found.labels, self.class_names),
            list(self.class_names.values()),
            fingerprint=self._fingerprint,
            confidence=found.confidence,
            modality=self._input.get("modality", ""),
            tolerances=self._tolerances,
        )

    def _check_place(self, image: str | Sequence[str]) -> None:
        """A label map has its scan's name: it would take the scan's place."""
        folder = self.output_dir.resolve()
        for path in [image] if isinstance(image, str) else image:
            place = split_series(path)[0].resolve()
            if folder in (place, place.parent) and not (place.is_dir() and place != folder):
                raise OutputError(f"output_dir {self.output_dir}: holds the scans themselves; choose another folder")

    def _check_input(self, entry: Mapping[str, Any], image: torch.Tensor) -> None:
        found, dims = len(image), image.ndim - 1
        expected, its_dims = self._input["num_channels"], len(self._input.get("spatial_shape", image.shape[1:]))
        if dims != its_dims:
            raise ImageError(f"{entry['image']}: has {dims} dimensions; this bundle takes images of {its_dims}")
        if not image.numel():
            raise ImageError(f"{entry['image']}: nothing is left of it after the bundle's preprocessing crops it")
        if found != expected:
            what = ", ".join(self._input["channel_def"].values())
            raise ImageError(f"{entry['image']}: has {found} channels; this bundle takes {expected}: {what}")
