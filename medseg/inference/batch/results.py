"""The table `results.csv` of an output folder: a row per case, and which cases are complete.

A case is complete when

- the table has its row,
- the row tells of no error, and is of the same model and the same input (see `identity`), and
- every file that the row names lies in the folder, those that are wanted now among them.

Nothing else counts, and this is the only place that says so. A row is one line, written after the case's files
are whole and on disk (`medseg.files.together`), by one process at a time, and on disk itself before anybody goes
on. Whoever is killed while writing leaves a last line without its end, which the next writer takes away. To have a
case done anew, delete its line, or one of its files, and resume.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from medseg.errors import OutputError
from medseg.inference.batch.rows import CaseRow, columns

FILE_NAME = "results.csv"
HIDDEN = ".medseg"  # the folder of locks and of what is being written
_PATIENCE_S = 120


class Results:
    """`results.csv` of a folder, made if absent; several processes may write it, and several threads of each.

    Args:
        folder: must exist.
        class_names: label value -> class name; they give the columns.

    Raises:
        OutputError: from every method, if the folder cannot be written, or the table there has other columns.
    """

    def __init__(self, folder: Path, class_names: Mapping[int, str]) -> None:
        self.path = folder / FILE_NAME
        self._folder = folder
        self._columns = columns(list(class_names.values()))
        self._header = self._line(dict(zip(self._columns, self._columns, strict=True)))
        self._rows: dict[str, CaseRow] = {}
        self._seen = 0  # bytes of the table that `_rows` tells of, and the last line of them
        self._last = b""
        self._one_thread = threading.RLock()
        with self._alone():
            self._mend()

    def rows(self) -> dict[str, CaseRow]:
        """Case -> its row, with what other processes have written meanwhile; of several rows the last."""
        with self._one_thread, _telling(self.path), self.path.open("rb") as table:
            table.seek(max(0, self._seen - len(self._last)))
            if table.read(len(self._last)) != self._last or not self._seen:  # another table took its place
                table.seek(0)
                header = table.readline()
                self._check_header(header)
                self._rows, self._seen, self._last = {}, len(header), header
            new = table.read()
            whole = new[: new.rfind(b"\n") + 1]
            for line in csv.reader(io.StringIO(whole.decode("utf-8", "replace"), newline="")):
                if line:
                    row = self._row(line)
                    self._rows[row.case] = row
            if whole:
                self._seen += len(whole)
                self._last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
            return dict(self._rows)

    def is_complete(
        self, row: CaseRow, *, model: str, input_of: Callable[[str], str], wanted: Iterable[str] = ()
    ) -> bool:
        """Whether the case that this is the row of is complete, as the module says; `wanted` are names of files."""
        if row.error is not None or row.model != model or not row.files or not set(wanted) <= set(row.files):
            return False
        there = all((self._folder / each).is_file() for each in row.files)
        return there and row.input == input_of(row.case)  # last, for it looks at all the files of a scan

    def append(self, row: CaseRow) -> None:
        """Write a row; when this returns it is on disk."""
        with self._alone():
            self._mend()
            with self.path.open("r+b") as table:
                end = table.seek(0, os.SEEK_END)
                try:
                    table.write(self._line(row.as_record()))
                    table.flush()
                    os.fsync(table.fileno())
                except OSError:  # a full disk
                    table.truncate(end)
                    raise

    def drop(self, rows: Iterable[CaseRow]) -> None:
        """Take rows out; one that another process has written for the same case meanwhile stays."""
        outdated = {row.case: row for row in rows}
        with self._alone():
            self._mend()
            now = self.rows()
            kept = [row for case, row in now.items() if row != outdated.get(case)]
            if len(kept) < len(now):
                self._put(FILE_NAME, b"".join([self._header, *(self._line(row.as_record()) for row in kept)]))

    def write_json(self) -> None:
        """Write `results.json`: the rows of the table as `CaseRow.as_dict`, sorted by case."""
        with self._alone():
            records = [row.as_dict() for _, row in sorted(self.rows().items())]
            self._put("results.json", (json.dumps(records, indent=2) + "\n").encode("utf-8"))

    def _line(self, record: Mapping[str, object]) -> bytes:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._columns, restval="", lineterminator="\n").writerow(record)
        return text.getvalue().encode("utf-8")

    def _row(self, cells: list[str]) -> CaseRow:
        try:
            return CaseRow.from_record(dict(zip(self._columns, cells, strict=True)))
        except ValueError as error:
            raise OutputError(
                f"{self.path}: the line of '{cells[0] if cells else ''}' is damaged ({error}); delete that line"
            ) from error

    def _check_header(self, line: bytes) -> None:
        if line.rstrip(b"\r\n") != self._header.rstrip(b"\n"):
            raise OutputError(
                f"{self.path}: is no table of this bundle's results (its columns are others); choose another "
                "--output_dir, or move it away"
            )

    def _mend(self) -> None:
        """Make the table if there is none, and take away a last line that has no end."""
        if not self.path.exists():
            self._put(FILE_NAME, self._header)
        with self.path.open("r+b") as table:
            self._check_header(table.readline())
            table.seek(-1, os.SEEK_END)
            if table.read() != b"\n":
                table.seek(0)
                table.truncate(table.read().rfind(b"\n") + 1)

    def _put(self, name: str, content: bytes) -> None:
        """Replace a file of the folder at once."""
        beside = self._folder / HIDDEN / name
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._folder / name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process writes the table."""
        with self._one_thread, _telling(self.path):
            (self._folder / HIDDEN).mkdir(exist_ok=True)
            try:
                held = FileLock(self._folder / HIDDEN / "results.lock").acquire(timeout=_PATIENCE_S)
            except Timeout as error:
                raise OutputError(
                    f"{self.path}: another process has kept it locked for {_PATIENCE_S} s; is one suspended?"
                ) from error
            with held:
                yield


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path}: cannot be read and written ({reason}); choose another --output_dir") from error
