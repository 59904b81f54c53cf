"""Scans in, segmentations out: each case on its own grid and with its numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.data import Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer

from medseg.bundle.metadata import class_names, image_dims, image_format, label_classes
from medseg.bundle.trained import trained_networks
from medseg.bundle.weights import load_weights
from medseg.device import check_device
from medseg.errors import ConfigError, ImageError, MedsegError, OutputError, user_error_in
from medseg.files import array_on_disk, check_output_dir
from medseg.images import files_at, read_geometry
from medseg.inference.batch.batch import Batch, SharedBatch
from medseg.inference.batch.identity import input_identity, model_identity
from medseg.inference.batch.progress import Progress
from medseg.inference.batch.rows import CaseRow
from medseg.inference.batch.shard import Shard
from medseg.inference.budget import Budget
from medseg.inference.cascade import Cascade, Coarse
from medseg.inference.case_files import ENDINGS, NOTHING_WRITTEN, PROBABILITIES, CaseFiles, Written
from medseg.inference.ensemble import Ensemble
from medseg.inference.inputs import named_entries
from medseg.inference.pipeline import Pipeline
from medseg.inference.prepared import Prepared
from medseg.inference.quality.facts import CaseFacts
from medseg.inference.quality.fingerprint import fingerprint_beside
from medseg.inference.quality.verdict import Tolerances, Verdict, judge
from medseg.inference.restoring.label_map import MakeArray
from medseg.inference.restoring.to_source_grid import ToSourceGrid
from medseg.inference.scan import Opened, Scan, Segmented, as_volume
from medseg.inference.segmenter import Segmenter, Segments
from medseg.inference.stages import Stages

_log = logging.getLogger(__name__)
_ENGINES = ("local", "ray")
_READING = 3  # times a scan's own bytes, before and after preprocessing, that reading it takes at most


@dataclass(eq=False)
class _Job:
    """A case on its way: what it was made into so far, or what went wrong with it."""

    entry: Mapping[str, Any]
    claim: ExitStack = field(default_factory=ExitStack)
    stages: Stages = field(default_factory=Stages)
    is_mine: bool = True
    opened: Opened | None = None
    found: Segmented | None = None
    error: MedsegError | None = None


class Predictor(SupervisedEvaluator):
    """MONAI evaluator that segments every case of a dataset and writes what it found.

    For every case `output_dir` receives label values on the scan's own grid (same shape, same affine):
    `NAME.nii.gz`, for a DICOM series also `NAME.dcm` (DICOM SEG), for a picture `NAME.png` in the classes'
    colours; and the preview `NAME_preview.png`. These appear together, the label map last. `results.csv` gets
    a row with volumes (mL), voxels, seconds per stage, warnings of the file, and a `Verdict` with its reasons when
    they are there, `results.json` the same in the end. A case that fails is reported and the others go on; the run
    then ends with an error.

    While the network sees one case the next is read and the one before is written; there are never more than three in
    memory, and only one where there is no room for more.

    Several runs may share an `output_dir` at a time, in one machine or many: no case is done by two of them.

    Args:
        device: to compute on.
        dataset: `monai.data.Dataset` of `{"image": path, "case": name}` whose transform is a `Compose`
            that begins with `LoadImaged`.
        network: logits `(N, C, window...)` of a window.
        checkpoint: the weights' file, or several for an `Ensemble`, of one bundle or of several that have the same
            preprocessing and classes; None to use the network as it is.
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
        coarse: a bundle that shows where in the scan to look, or a mapping of what `Coarse` takes; None to look
            everywhere.
        engine: `local`, or `ray` for the cluster that Ray finds (see `medseg.inference.batch.cluster`).

    Raises:
        ConfigError: for a tolerance that there is not.
        MedsegError: from `run`, naming the first failed case and how many failed.
    """

    entry_keys: tuple[str, ...] = ("image",)

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
        coarse: str | Mapping[str, Any] | None = None,
    ) -> None:
        if engine not in _ENGINES:
            raise ConfigError(f"engine '{engine}': use one of {', '.join(_ENGINES)}")
        if not isinstance(postprocessing, ToSourceGrid):
            raise ConfigError(
                f"postprocessing: {type(postprocessing).__name__} cannot stand there; its `steps` take what is done to "
                "the label map, and files are written without being asked"
            )
        device = check_device(device)
        check_output_dir(output_dir)
        if isinstance(checkpoint, str):
            load_weights(network, checkpoint)
        elif checkpoint is not None:
            network = Ensemble(network, checkpoint, trained_networks(checkpoint, metadata))
        how: dict[str, Any] = {"device": device, "precision": precision, "backend": backend, "images": len(dataset)}
        prepared = Prepared(network.to(device).eval(), **how)
        super().__init__(
            device=device,
            val_data_loader=(),
            network=prepared,
            inferer=inferer,
            iteration_update=self._one,
            decollate=False,
        )
        self.logger.disabled = True  # ignite tells of an error that is told once already
        self.dataset = dataset
        self.output_dir = Path(output_dir)
        self.class_names = class_names(metadata)
        self.rows: list[CaseRow] = []
        self._metadata = metadata
        self._tolerances = Tolerances.given(tolerances)
        self._fingerprint = fingerprint_beside(checkpoint, label_classes(metadata))
        self._has_weights = checkpoint is not None
        self._budget = Budget(device, ram, vram)
        model: dict[str, Any] = {"metadata": metadata, "device": device, "budget": self._budget}
        self._segmenter: Segments = Segmenter(dataset.transform, prepared, inferer, postprocessing, **model)
        settings = [dataset.transform, inferer, postprocessing.settings, tolerances]
        if coarse is not None:
            finder = Coarse.given(coarse, budget=self._budget, **how)
            self._segmenter = Cascade(finder, self._segmenter)
            settings.append(finder.identity)
        self._model = model_identity(metadata, prepared, *settings)
        self.files = CaseFiles(self.output_dir, metadata, with_probabilities=save_probabilities)
        self.make_probabilities: MakeArray | None = None
        if save_probabilities:
            self.make_probabilities = partial(array_on_disk, self.output_dir)
        self._resume, self._shard, self._engine = resume, Shard.parse(shard), engine

    def run(self) -> None:  # type: ignore[override]
        """Segment every case, write the rows, and raise if one failed."""
        if self._has_weights and self._fingerprint is None:
            _log.info("no fingerprint.json beside the weights: scans are not compared with what they were trained on")
        entries = self._shard.of(named_entries(self.dataset.data, self.entry_keys))
        if not entries:
            _log.info(f"none of the {len(self.dataset.data)} cases is this process's share")
        refused = [*self._refused(entries)]
        batch = self.open_batch(entries)
        for row in refused:
            batch.record(row)
        left = batch.missing()
        with Progress(len(entries), done=len(entries) - len(left) - len(refused)) as progress:
            for row in refused:
                progress.told(row)
            if len(left) + len(refused) < len(entries):
                _log.info(f"{len(entries) - len(left) - len(refused)} of {len(entries)} cases are complete already")
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

    def _refused(self, entries: Sequence[Mapping[str, Any]]) -> Iterator[CaseRow]:
        for entry in entries:
            try:
                self.check_entry(entry)
            except ImageError as error:
                self.case_failed(entry, error)
                yield CaseRow.failed(entry["case"], str(error), Stages().seconds)

    def check_entry(self, entry: Mapping[str, Any]) -> None:
        """Look at an entry before the first is segmented.

        Raises:
            ImageError: if its files could not be written beside the others', or it is not there.
            OutputError: if they would take the place of the scan itself.
        """
        self.files.check_name(entry["case"])
        self.files.check_place_of(entry["image"])

    def open_batch(self, entries: Sequence[Mapping[str, Any]]) -> Batch:
        """What the output folder knows of these entries."""
        images = {entry["case"]: entry["image"] for entry in entries}
        return SharedBatch(
            self.output_dir,
            [entry["case"] for entry in entries],
            class_names=self.class_names,
            endings=ENDINGS,
            wanted=(PROBABILITIES,) if self.make_probabilities else (),
            model=self._model,
            input_of=lambda case: input_identity(images[case]),
            resume=self._resume,
        )

    def _pass(self, batch: Batch, entries: Sequence[Mapping[str, Any]], progress: Progress) -> None:
        if self._engine == "ray":
            from medseg.inference.batch.cluster import run_on_ray

            run_on_ray(batch, entries, progress, self.output_dir)
            return

        def prepared(entry: Mapping[str, Any]) -> _Job:
            job = _Job(entry)
            if job.claim.enter_context(batch.claim(entry["case"])):
                self._open(job)
            else:
                job.is_mine = False
            return job

        def conclude(job: _Job) -> None:
            with job.claim:
                if job.is_mine:
                    row = self._concluded(job)
                    batch.record(row)
                    progress.told(row)

        with Pipeline(
            prepared, conclude, room_beside=self._has_room_beside, give_up=lambda job: job.claim.close()
        ) as pipeline:
            self._pipeline = pipeline
            self.data_loader, self.state.epoch_length = pipeline.prepared(entries), len(entries)
            super().run()

    def _one(self, _engine: Engine, job: _Job) -> None:
        if job.is_mine:
            self._segment(job)
        self._pipeline.conclude(job)

    def attempt(self, entry: Mapping[str, Any]) -> CaseRow:
        """Segment one case and write it; if that fails, its row tells why.

        Raises:
            OutputError: if nothing can be written: the next case could not be either.
        """
        job = _Job(entry)
        self._open(job)
        self._segment(job)
        return self._concluded(job)

    def _open(self, job: _Job) -> None:
        with self._telling(job):
            job.opened = self.open(job.entry, job.stages)

    def _segment(self, job: _Job) -> None:
        opened, job.opened = job.opened, None
        if opened is not None:
            with self._telling(job):
                job.found = self.segment(opened, job.stages)

    def _concluded(self, job: _Job) -> CaseRow:
        found, job.found = job.found, None
        if found is not None:
            with self._telling(job):
                return self.case(job.entry, found, job.stages)
        error = job.error or MedsegError("unknown")
        self.case_failed(job.entry, error)
        return CaseRow.failed(job.entry["case"], str(error), job.stages.seconds)

    @contextmanager
    def _telling(self, job: _Job) -> Iterator[None]:
        """Keep what goes wrong with a case for its row; an output folder that cannot be written ends everything."""
        try:
            yield
        except Exception as error:
            mine = user_error_in(error)
            if isinstance(mine, OutputError):
                raise
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()  # for the next case
                mine = MedsegError(
                    "the GPU's memory did not suffice; allow less with --vram, so that windows are smaller"
                )
            if mine is None:
                _log.error(f"{job.entry['case']}: please report this:", exc_info=error)
                mine = MedsegError(f"unexpected {type(error).__name__}: {error}")
            image = job.entry["image"] if isinstance(job.entry["image"], str) else job.entry["image"][0]
            job.error = mine if image in str(mine) or isinstance(mine, ImageError) else MedsegError(f"{image}: {mine}")

    def _has_room_beside(self, job: _Job) -> bool:
        return job.opened is not None and self._budget.has_room_for(_READING * job.opened.nbytes)

    def case(self, entry: Mapping[str, Any], found: Segmented, stages: Stages) -> CaseRow:
        """Write a segmented case. It runs beside the network, one case at a time, in the cases' order."""
        with stages("write"):
            written = self.files.write(entry, found)
        return self.row(entry, found, stages, written)

    def case_failed(self, entry: Mapping[str, Any], error: MedsegError) -> None:
        """Called for a case that could not be segmented; its row tells already."""

    def finish(self) -> None:
        """Called after the last case, when `rows` are known."""

    def row(
        self, entry: Mapping[str, Any], found: Segmented, stages: Stages, written: Written = NOTHING_WRITTEN
    ) -> CaseRow:
        """What is told of a segmented case, and of the files that were written of it."""
        return CaseRow.of(
            entry["case"],
            found.labels,
            class_names=self.class_names,
            voxel_ml=found.scan.geometry.voxel_volume_ml if found.scan.spatial_dims == 3 else None,
            seconds=stages.seconds,
            verdict=self._verdict(found),
            confidence=found.confidence,
            warnings=(*found.scan.warnings, *written.warnings),
            files=written.names,
        )

    def open(self, entry: Mapping[str, Any], stages: Stages) -> Opened:
        """Read one entry's scan and make it ready. It runs beside the network.

        Raises:
            ImageError: if the scan cannot be read, or is none for this bundle.
        """
        with stages("read"):
            self._budget.check_reading(_voxels(entry["image"]), entry["image"])
            image = self.dataset.transform({"image": entry["image"]}, end=1)["image"]
            if image.ndim == 3 and image_dims(self._metadata) == 3:
                image = as_volume(image)
            scan = Scan.of(image)
        return Opened(scan, self._segmenter.prepared(image, stages))

    def segment(self, opened: Opened, stages: Stages) -> Segmented:
        """Segment a scan on its own grid."""
        return self._segmenter.segmented(opened.scan, opened.image, stages, self.make_probabilities)

    def _verdict(self, found: Segmented) -> Verdict:
        return judge(
            CaseFacts.of(found.scan, found.labels, self.class_names),
            list(self.class_names.values()),
            fingerprint=self._fingerprint,
            confidence=found.confidence,
            modality=image_format(self._metadata).get("modality", ""),
            tolerances=self._tolerances,
            doubts=found.doubts,
        )


def _voxels(image: str | Sequence[str]) -> float:
    """How many a scan has at least: as its header tells, or of a series, whose headers are many, its files' size.

    Raises:
        ImageError: if it cannot be read.
    """
    found = 0.0
    for path in map(Path, [image] if isinstance(image, str) else image):
        if path.is_file():
            found += math.prod(read_geometry(path).shape)
        elif path.is_dir():  # 16 bits a voxel, where nothing is compressed; a path with `::` is neither
            found += sum(file.stat().st_size for file in files_at(path)) / 2
    return found
