"""One training run: the bundle says what is trained, this says how the run is conducted."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from monai.data import DataLoader, Dataset, DistributedSampler
from monai.engines import SupervisedTrainer
from monai.inferers import Inferer, SimpleInferer
from monai.transforms import Compose
from monai.utils.enums import CommonKeys as Keys
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau

from medseg.bundle.metadata import class_names
from medseg.data import Split
from medseg.descent import Descent, laid_out
from medseg.device import autocast, check_device, pick_precision, plain_tensor
from medseg.errors import ConfigError, MedsegError
from medseg.training.batch_errors import Told, collated, told_of_batch
from medseg.training.checkpoint import BestAndLast
from medseg.training.prepare import alone_in, at_least_one, leave_processes, rank, world_size
from medseg.training.progress import Progress
from medseg.training.recording import Recording
from medseg.training.state import TrainingState
from medseg.training.survey import Survey
from medseg.training.validation import KEY_METRIC, Validator

_log = logging.getLogger(__name__)


class Trainer(SupervisedTrainer):
    """MONAI trainer with everything a run needs: precision, schedule, validation, checkpoints, tracking.

    A run leaves `output_dir/models/model.pt` (best validation) and `last.pt`, beside them `fingerprint.json` of what
    it was trained on and `state.pt` to go on from, `config.yaml` as it ran, and one MLflow run. It ends as FINISHED, as
    KILLED on Ctrl-C or SIGTERM, as FAILED on an error.

    Args:
        device: of this process.
        max_epochs: an epoch is one pass over `dataset`, or `epoch_length` iterations.
        dataset: of `{"image": (C, patch...), "label": (1, patch...)}` after random transforms.
        batch_size: patches per process and iteration.
        network: one tensor `(N, C, patch...)` out; several with deep supervision (a list, or stacked as
            `(N, heads, C, patch...)` as DynUNet does), the finest first.
        optimizer: of `network`'s parameters.
        lr_scheduler: stepped once an epoch; `ReduceLROnPlateau` (of mode max) once a validation, by its Dice.
        loss: of logits and label; applied to every head, weights halving, under deep supervision.
        validator: run every `val_interval` epochs and after the last; without cases the last weights are kept.
        output_dir: of this run.
        metadata: of the bundle.
        inferer: of the training forward pass.
        precision: see `medseg.device.pick_precision`.
        gradient_clip: largest norm of all gradients together; None for no limit.
        ema_momentum: how much of the latest weights enters their running average at every iteration, such as 0.002;
            what is validated and kept is then the average, which often segments better. None to keep the weights
            themselves.
        epoch_length: iterations per epoch; None for all of `dataset`.
        num_workers: loader processes; None for 0 on a CPU (the network uses its cores) and 4 beside a GPU.
        tracking_uri: of MLflow; None for `MLFLOW_TRACKING_URI`, else SQLite in the working directory.
        experiment: in MLflow; None for the bundle's name.
        cases: what is trained on; its facts become tags of the MLflow run.
        preprocessing: of the bundle; its readers take the fingerprint of the training cases, see `Survey`.
        resume: whether to go on with an interrupted training of the same config in `output_dir`, after its last
            validation and in its MLflow run; where there is none, a training begins. See `TrainingState`.

    Raises:
        ConfigError: for a value that no run can have; from `run`, to resume a training with other settings.
        BundleError: from `run`, for a state to resume that cannot be read.
        OutputError: from `run`, while another training is at work in `output_dir`.
        MedsegError: from `run`, if the loss stops being a number.
    """

    def __init__(
        self,
        *,
        device: str | torch.device,
        max_epochs: int,
        dataset: Dataset,
        batch_size: int,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: torch.nn.modules.loss._Loss,
        validator: Validator,
        val_interval: int,
        output_dir: str,
        metadata: Mapping[str, Any],
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        inferer: Inferer | None = None,
        precision: str = "auto",
        gradient_clip: float | None = None,
        ema_momentum: float | None = None,
        epoch_length: int | None = None,
        num_workers: int | None = None,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        cases: Split | None = None,
        preprocessing: Compose | None = None,
        resume: bool = False,
    ) -> None:
        at_least_one(max_epochs=max_epochs, batch_size=batch_size, val_interval=val_interval)
        if cases is not None:  # datasets may have been given a list of one's own
            cases = cases.trained_on(*(getattr(each, "data", None) for each in (dataset, validator.dataset)))
        if epoch_length is not None:
            at_least_one(epoch_length=epoch_length)
        device = check_device(device)
        self._precision = pick_precision(device, precision)
        self._descent = Descent(optimizer, loss, device=device, precision=self._precision, gradient_clip=gradient_clip)
        self._loss_sum = torch.zeros((), device=device)
        self._average: EMAHandler | None = None
        network = laid_out(network.to(device))
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=_loader(dataset, batch_size, device, num_workers),
            epoch_length=epoch_length,
            network=DistributedDataParallel(network) if world_size() > 1 else network,
            optimizer=optimizer,
            loss_function=loss,
            inferer=inferer or SimpleInferer(),
            iteration_update=self._train_on_batch,
            decollate=False,
        )
        self.logger.disabled = validator.logger.disabled = True  # ignite tells of an error that is told once already
        self.validator = validator
        self.lr_scheduler = lr_scheduler
        kept = network if ema_momentum is None else self._averaged(network, ema_momentum)
        validator.network = kept
        self.checkpoint = BestAndLast(Path(output_dir) / "models", kept, validator, KEY_METRIC)
        self._recording = Recording(
            output_dir=Path(output_dir),
            metadata=metadata,
            tracking_uri=tracking_uri,
            experiment=experiment,
            tags={
                "device": str(device),
                "precision": str(self._precision).removeprefix("torch."),
                **(cases.tags if cases else {}),
            },
        )
        self._survey: Survey | None = None
        if rank() == 0 and cases is not None and preprocessing is not None:
            self._survey = Survey(cases.training, preprocessing, class_names(metadata), self.checkpoint.best_path)
        self._resume = resume
        self._state = self._state_of(cases)
        self._attach(val_interval)

    def _state_of(self, cases: Split | None) -> TrainingState:
        network, kept = getattr(self.network, "module", self.network), self.checkpoint.network
        parts: dict[str, Any] = {
            "network": network,
            "average": kept if kept is not network else None,
            "optimizer": self.optimizer,
            "lr_scheduler": self.lr_scheduler,
            "best": self.checkpoint,
            "recording": self._recording if rank() == 0 else None,
            "survey": self._survey,
        }
        settings = {**self._recording.config, "split": cases.facts if cases else {}}
        present = {name: part for name, part in parts.items() if part is not None}
        return TrainingState(self.checkpoint.state_path, present, settings)

    def _attach(self, val_interval: int) -> None:
        now_and_then = Events.EPOCH_COMPLETED(
            event_filter=lambda _, epoch: epoch % val_interval == 0 or epoch == self.state.max_epochs
        )
        self.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        self.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)
        if rank() == 0:
            self.checkpoint.attach(self)
        if self.validator.has_cases:
            self.validator.add_event_handler(Events.COMPLETED, self._after_validation)
            self.add_event_handler(now_and_then, lambda _: self.validator.run(self.state.epoch))
        elif rank() == 0:
            self.add_event_handler(now_and_then, self.checkpoint.take_unmeasured)
        if rank() == 0:
            self._recording.attach(self, self.validator, self.checkpoint)
            Progress().attach(self, self.validator)
            self.add_event_handler(now_and_then, self._save)  # last: an epoch that is over

    def _averaged(self, network: torch.nn.Module, momentum: float) -> torch.nn.Module:
        """A copy of `network` that follows it slowly (Tarvainen and Valpola 2017)."""
        if not 0 < momentum < 1:
            raise ConfigError(f"ema_momentum {momentum}: expected more than 0 and less than 1")
        first_tenth = max(1, self.state.max_epochs * self.state.epoch_length // 10)
        # The first step takes the weights whole, also those that were loaded after this was made.
        average = EMAHandler(network, momentum, momentum_warmup=1.0, warmup_iters=first_tenth, handle_buffers="update")
        average.attach(self)
        self._average = average
        kept: torch.nn.Module = average.ema_model
        return kept

    def _train_on_batch(self, _engine: Engine, batch: Any) -> dict[str, torch.Tensor]:
        if isinstance(batch, MedsegError):
            raise batch
        image, label = (plain_tensor(batch[key], self.state.device) for key in (Keys.IMAGE, Keys.LABEL))
        self.network.train()
        self.optimizer.zero_grad()
        with told_of_batch(image):
            with autocast(self.state.device, self._precision):
                output = self.inferer(image, self.network)
            loss = self._descent.loss(output, label)
            self._descent.step(loss)
        self._loss_sum += loss.detach()
        return {Keys.LOSS: loss.detach()}

    def _start_epoch(self, _engine: Engine) -> None:
        self._loss_sum.zero_()
        self._epoch_began = time.monotonic()
        sampler = getattr(self.data_loader, "sampler", None)
        if isinstance(sampler, DistributedSampler):
            sampler.set_epoch(self.state.epoch)

    def _end_epoch(self, _engine: Engine) -> None:
        loss = float(self._loss_sum) / self.state.epoch_length
        if not math.isfinite(loss):
            raise MedsegError(
                f"the training loss is {loss} in epoch {self.state.epoch}: lower the learning rate, "
                "or try --precision fp32"
            )
        self.state.metrics["train_loss"] = loss
        self.state.metrics["learning_rate"] = float(self.optimizer.param_groups[0]["lr"])
        if self.lr_scheduler is not None and not isinstance(self.lr_scheduler, ReduceLROnPlateau):
            self.lr_scheduler.step()
        self.state.metrics["epoch_seconds"] = time.monotonic() - self._epoch_began

    def _after_validation(self, validator: Engine) -> None:
        if isinstance(self.lr_scheduler, ReduceLROnPlateau):
            self.lr_scheduler.step(validator.state.metrics[KEY_METRIC])

    def _save(self, _engine: Engine) -> None:
        """The state comes before the weights: where it is not followed by them, `_go_on` writes them again."""
        epoch = self.state.epoch
        self.checkpoint.begin(epoch)
        if self._survey is not None and self.checkpoint.best_epoch == epoch:
            self._survey.weights_saved(self.validator.confidences if self.validator.has_cases else ())
        self._state.save(self)
        self.checkpoint.save(epoch)

    def _go_on(self) -> None:
        self._state.restore(self)
        if self._average is not None and self._average.momentum_scheduler is not None:
            self._average.momentum_scheduler.event_index = self.state.iteration  # else its warm-up begins again
        if rank() == 0 and self.state.epoch:
            self.checkpoint.save_again(self.state.epoch)

    def _train(self) -> None:
        if self.state.epoch < self.state.max_epochs:
            super().run()
        elif rank() == 0:  # ignite would begin anew; what is left is to tell MLflow
            _log.info(f"the training in {self.checkpoint.best_path.parent} is complete")
            self._recording.start()

    def result(self) -> dict[str, Any]:
        """What the run came to: best validation Dice (None without validation), its epoch, the weights' file."""
        return {
            "best_val_dice": self.checkpoint.best_metric if self.validator.has_cases else None,
            "best_epoch": self.checkpoint.best_epoch,
            "checkpoint": str(self.checkpoint.best_path),
            "mlflow_run": self._recording.run_id,
        }

    def run(self) -> None:  # type: ignore[override]
        """Train; on the way out mark the MLflow run as what became of it."""
        previous = signal.signal(signal.SIGTERM, _terminate) if _in_main_thread() else None
        try:
            with alone_in(self.checkpoint.best_path.parents[1]) if rank() == 0 else nullcontext():
                if self._resume:
                    self._go_on()
                elif rank() == 0:  # what would go on with an earlier training forgets this one
                    self.checkpoint.state_path.unlink(missing_ok=True)
                with self._survey or nullcontext():
                    self._train()
        except BaseException as error:
            self._recording.finish("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
            raise
        else:
            self._recording.finish("FINISHED")
        finally:
            if previous is not None:
                signal.signal(signal.SIGTERM, previous)
            leave_processes()


def _loader(dataset: Dataset, batch_size: int, device: torch.device, num_workers: int | None) -> DataLoader:
    torch.manual_seed(torch.initial_seed() + rank())  # processes must not draw the same random transforms
    sampler = DistributedSampler(dataset, shuffle=True, even_divisible=True) if world_size() > 1 else None
    if num_workers is None:
        num_workers = min(4, os.cpu_count() or 1) if device.type == "cuda" else 0
    return DataLoader(
        Told(dataset),
        collate_fn=collated,
        batch_size=batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        drop_last=len(dataset) >= batch_size * world_size(),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
