"""What a person sees of many cases: a bar with the time left on a terminal, a plain line per case elsewhere."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from medseg.inference.batch.rows import CaseRow

_log = logging.getLogger(__name__)
_FEW = 10  # cases that have a line each beside the bar too


class Progress:
    """`with Progress(total) as progress: ... progress.told(row)`; failures have a line each wherever they are told.

    Args:
        total: cases.
        done: of them beforehand.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total, self._done, self._failed = total, done, 0
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True, highlight=False), transient=True)
            self._task = self._bar.add_task("cases", total=self._total, completed=self._done)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def told(self, row: CaseRow) -> None:
        """Tell of a case that is done or failed."""
        self.passed()
        line = f"{self._done}/{self._total}  {row.line()}"
        if self._bar is None:
            _log.info(line)
        else:
            self._failed += row.error is not None
            if row.error is not None or self._total <= _FEW:
                self._bar.console.print(line, markup=False, soft_wrap=True)
            if self._failed:
                self._bar.update(self._task, description=f"cases ({self._failed} failed)")

    def passed(self) -> None:
        """Count a case that another process has done."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
