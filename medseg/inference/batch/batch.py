"""Many cases into one output folder, by one process or by several that share them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from medseg.errors import OutputError
from medseg.files import PART
from medseg.inference.batch.results import FILE_NAME, HIDDEN, Results
from medseg.inference.batch.rows import CaseRow


class Batch:
    """Cases that one process sees to alone; their rows are kept in memory.

    Args:
        cases: their names.
    """

    def __init__(self, cases: Sequence[str]) -> None:
        self.cases = tuple(cases)
        self._rows: dict[str, CaseRow] = {}

    def known(self) -> Mapping[str, CaseRow]:
        """Case -> row, of all that is known by now."""
        return self._rows

    def rows(self) -> list[CaseRow]:
        """The rows of these cases, in the cases' order."""
        known = self.known()
        return [known[case] for case in self.cases if case in known]

    def missing(self) -> set[str]:
        """The cases that have no row yet."""
        return set(self.cases) - set(self.known())

    @contextmanager
    def claim(self, case: str) -> Iterator[bool]:
        """Whether the case is this process's to do; no other has it until the block ends."""
        yield True

    def record(self, row: CaseRow) -> None:
        """Keep the row of a case that is done, or failed."""
        self._rows[row.case] = row

    def close(self) -> None:
        """Called when nothing is left to be done."""


class SharedBatch(Batch):
    """Cases whose rows and files go into a folder, which other processes may be working on too.

    A case is claimed by one process at a time: by a lock on a file of its own, which the operating system takes
    from a process that dies, on this machine or on another that mounts the folder with working locks (local disks,
    NFS version 4, Lustre with `flock`). A case that got a row after this batch was opened is not claimed again.

    Args:
        folder: must exist.
        cases: of this process.
        class_names: label value -> class name.
        endings: of all files that a case may have: `NAME` and one of these. A case begins with none of them.
        wanted: of the files that every case has to have.
        model: what segments them, as rows tell it.
        input_of: what a case's input is, as rows tell it.
        resume: whether to leave out those that are complete (see `medseg.inference.batch.results`); without, the rows
            of all of them are taken out and they are done anew. Rows of other cases stay.

    Raises:
        OutputError: from every method, if the folder cannot be written, or holds another bundle's results; at first
            also if it holds files of these cases that no table tells of: they are somebody's, such as true labels.
    """

    def __init__(
        self,
        folder: Path,
        cases: Sequence[str],
        *,
        class_names: Mapping[int, str],
        endings: Sequence[str],
        wanted: Sequence[str] = (),
        model: str,
        input_of: Callable[[str], str],
        resume: bool,
    ) -> None:
        super().__init__(cases)
        self._folder = folder
        self._endings = endings
        self._wanted = wanted
        self._model = model
        self._input_of = input_of
        self._inputs: dict[str, str] = {}  # of the cases that were claimed, as they were then
        strangers = self._files_there()  # before the table, which another process may be making
        if strangers and not (folder / FILE_NAME).exists():
            raise OutputError(
                f"{strangers[0]}: is there already, and no {FILE_NAME} beside it tells that a prediction made it; "
                "choose another output_dir"
            )
        self._results = Results(folder, class_names)
        known = self._results.rows()
        mine = [known[case] for case in cases if case in known]
        self._results.drop(row for row in mine if not (resume and self._is_complete(row)))
        self._clear_up()

    def _files_there(self) -> list[Path]:
        files = set(self._folder.iterdir())
        mine = (self._folder / (case + ending) for case in self.cases for ending in self._endings)
        return [file for file in mine if file in files]

    def _is_complete(self, row: CaseRow) -> bool:
        wanted = [row.case + ending for ending in self._wanted]
        return self._results.is_complete(row, model=self._model, input_of=self._input_of, wanted=wanted)

    def known(self) -> Mapping[str, CaseRow]:
        """Case -> row, of all in the folder."""
        return self._results.rows()

    @contextmanager
    def claim(self, case: str) -> Iterator[bool]:
        """Whether the case is this process's to do; no other has it until the block ends."""
        with self._lock(case) as free:
            mine = free and case not in self.known()
            if mine:
                self._remove_files(case)
                self._inputs[case] = self._input_of(case)
            yield mine
            if mine:  # of a process that died on another node
                shutil.rmtree(self._folder / f"{PART}{case}", ignore_errors=True)
            if mine and case in self.known():
                with suppress(OSError):  # Windows deletes no open file
                    self._lock_of(case).unlink()

    def record(self, row: CaseRow) -> None:
        """Write the row; when this returns it is on disk."""
        self._results.append(replace(row, model=self._model, input=self._inputs.pop(row.case, "")))

    def close(self) -> None:
        """Write `results.json`."""
        self._results.write_json()

    def _remove_files(self, case: str) -> None:
        for ending in self._endings:
            file = self._folder / f"{case}{ending}"
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{file}: cannot be removed ({error.strerror}); choose another output_dir") from error

    def _lock_of(self, case: str) -> Path:
        return self._folder / HIDDEN / f"{case}.claim"

    @contextmanager
    def _lock(self, case: str) -> Iterator[bool]:
        path = self._lock_of(case)
        try:
            held = FileLock(path, thread_local=False).acquire(timeout=0)  # taken and given back by two threads
        except Timeout:
            yield False
            return
        except OSError as error:
            raise OutputError(f"{path}: cannot be locked ({error.strerror or error}); choose another disk") from error
        with held:
            yield True

    def _clear_up(self) -> None:
        """Take away what killed processes left half-written."""
        for part in self._folder.glob(f"{PART}*"):
            case = part.name.removeprefix(PART)
            if part.is_dir():
                with self._lock(case) as free:
                    if free:
                        shutil.rmtree(part, ignore_errors=True)
