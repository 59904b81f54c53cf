"""What a person sees of a training: a bar on a terminal, a plain line per epoch elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from datetime import timedelta

from ignite.engine import Engine, Events
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from medseg.training.validation import KEY_METRIC, Validator

_log = logging.getLogger(__name__)


class Progress:
    """Ignite handler of a `Trainer`: epoch, loss, time left, and every validation by class."""

    def attach(self, trainer: Engine, validator: Validator) -> None:
        """Follow `trainer` from its start to its end."""
        self._validation = ""
        trainer.add_event_handler(Events.STARTED, self._start)
        validator.add_event_handler(Events.COMPLETED, self._remember)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._line)
        self._say: Callable[[str], None] = _log.info
        if sys.stderr.isatty():
            bar = _TerminalBar()
            bar.attach(trainer)
            self._say = bar.print

    def _start(self, trainer: Engine) -> None:
        self._began, self._epochs_before = time.monotonic(), trainer.state.epoch

    def _remember(self, validator: Validator) -> None:
        metrics = validator.state.metrics
        classes = {name.partition("/")[2]: value for name, value in metrics.items() if "/" in name}
        listed = ", ".join(f"{name} {value:.3f}" for name, value in classes.items())
        self._validation = f"  val Dice {metrics[KEY_METRIC]:.4f} ({listed})"

    def _line(self, trainer: Engine) -> None:
        metrics, epoch, last = trainer.state.metrics, trainer.state.epoch, trainer.state.max_epochs or 0
        left = (time.monotonic() - self._began) / (epoch - self._epochs_before) * (last - epoch)
        self._say(
            f"epoch {epoch}/{last}  loss {metrics['train_loss']:.4f}  {metrics['epoch_seconds']:.1f} s  "
            f"left {timedelta(seconds=round(left))}{self._validation}"
        )
        self._validation = ""


class _TerminalBar:
    """A bar of all iterations below the epochs' lines."""

    def attach(self, trainer: Engine) -> None:
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}  loss {task.fields[loss]}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, epoch="1", loss="-")
        trainer.add_event_handler(Events.STARTED, lambda _: self._bar.start())
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        trainer.add_event_handler(Events.COMPLETED, lambda _: self._bar.stop())
        trainer.add_event_handler(Events.EXCEPTION_RAISED, self._give_up)

    def print(self, line: str) -> None:
        """Write a line above the bar."""
        self._bar.console.print(line)

    def _give_up(self, _trainer: Engine, error: BaseException) -> None:
        self._bar.stop()
        raise error  # ignite leaves that to whoever listens

    def _advance(self, trainer: Engine) -> None:
        state = trainer.state
        total = (state.max_epochs or 0) * (state.epoch_length or 0)
        self._bar.update(self._task, completed=state.iteration, total=total, epoch=f"{state.epoch}/{state.max_epochs}")
        if state.iteration % 10 == 1:  # reading the loss waits for the GPU
            self._bar.update(self._task, loss=f"{float(state.output['loss']):.3f}")  # type: ignore[index]
