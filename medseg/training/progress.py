"""What a person sees of a training: a bar on a terminal, a plain line per epoch elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from datetime import timedelta

from ignite.engine import Engine, Events
from rich.progress import BarColumn, Progress as Bar, TaskID, TextColumn, TimeRemainingColumn

from medseg.training.validation import KEY_METRIC

_log = logging.getLogger(__name__)


class Progress:
    """Ignite handler of a `Trainer`: epoch, loss, learning rate, latest validation, time left."""

    def attach(self, trainer: Engine) -> None:
        """Follow `trainer` from its start to its end."""
        self._validation = ""
        trainer.add_event_handler(Events.STARTED, self._start)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._line)
        trainer.validator.add_event_handler(Events.COMPLETED, self._remember)
        if sys.stderr.isatty():
            self._bar = Bar(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeRemainingColumn(),
                transient=True,
            )
            trainer.add_event_handler(Events.STARTED, self._open_bar)
            trainer.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
            for event in (Events.COMPLETED, Events.EXCEPTION_RAISED, Events.TERMINATE):
                trainer.add_event_handler(event, lambda *_: self._bar.stop())

    def _start(self, _trainer: Engine) -> None:
        self._began = time.monotonic()

    def _remember(self, validator: Engine) -> None:
        metrics = validator.state.metrics
        prefix = f"{KEY_METRIC}/"
        classes = ", ".join(f"{n.removeprefix(prefix)} {v:.3f}" for n, v in metrics.items() if n.startswith(prefix))
        self._validation = f"  val Dice {metrics[KEY_METRIC]:.4f} ({classes})"

    def _line(self, trainer: Engine) -> None:
        state = trainer.state
        left = (time.monotonic() - self._began) / state.epoch * (state.max_epochs - state.epoch)
        _log.info(
            f"epoch {state.epoch}/{state.max_epochs}  loss {state.metrics['train_loss']:.4f}  "
            f"{state.metrics['epoch_seconds']:.1f} s  left {timedelta(seconds=round(left))}{self._validation}"
        )
        self._validation = ""

    def _open_bar(self, trainer: Engine) -> None:
        total = trainer.state.max_epochs * trainer.state.epoch_length
        self._task: TaskID = self._bar.add_task("", total=total, epoch="1", facts="")
        self._bar.start()

    def _advance(self, trainer: Engine) -> None:
        state = trainer.state
        facts = f"loss {float(state.output['loss']):.3f}" if state.iteration % 10 == 1 else None
        self._bar.update(
            self._task,
            advance=1,
            epoch=f"{state.epoch}/{state.max_epochs}",
            **({"facts": facts} if facts else {}),
        )
