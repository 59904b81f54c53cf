"""Files that appear whole or not at all."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.errors import OutputError

PART = ".part-"  # how the names of what is being written begin


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path in the same folder to write to; on success it becomes `path`, on failure it is gone.

    The folder is made if absent. The name written to ends like `path` (`.nii.gz` stays `.nii.gz`), for
    the writers that decide by it.

    Raises:
        OutputError: if the folder cannot be written or the disk is full, or `path` has no name (`.`, `/`).
    """
    path = Path(path)
    if not path.name:
        raise OutputError(f"{path}: a folder, not the name of a file; add one")
    beside = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path}: cannot be written ({reason}); choose another place or free some space") from error
    finally:
        with suppress(OSError):
            beside.unlink()


class Together:
    """Paths to write the files of `together` to, by the names that they will have."""

    def __init__(self, waiting: Path) -> None:
        self._waiting = waiting
        self.names: list[str] = []

    def __call__(self, name: str) -> Path:
        """Where the file `name` is to be written."""
        self.names.append(name)
        return self._waiting / name


@contextmanager
def together(folder: str | os.PathLike[str], name: str) -> Iterator[Together]:
    """Yield where to write several files; on success all appear in `folder`, on failure none does.

    They wait on disk until the last is written, in a hidden folder `.part-NAME`, and are then renamed in the
    order in which they were asked for: the one that people look for comes last. What a killed process left under
    the same name goes first, so `name` must be used by one process at a time.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    folder = Path(folder)
    part = folder / f"{PART}{name}"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        waiting = Path(tempfile.mkdtemp(dir=part))  # one that is not quite dead must not write into ours
        files = Together(waiting)
        yield files
        for each in files.names:
            _to_disk(waiting / each)
        for each in files.names:
            (waiting / each).replace(folder / each)
        _to_disk(folder)
    except OutputError as error:  # of a file that waits, in a folder that is about to go
        raise OutputError(str(error).replace(str(waiting), str(folder))) from error
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{folder}: cannot be written ({reason}); choose another or free some space") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def array_on_disk(folder: str | os.PathLike[str], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array of zeros, float32, that takes no memory: it lives in a file without a name, which goes with it.

    It is in Fortran's order, as NIfTI files are.

    Raises:
        OutputError: if the folder cannot be written or the disk has no room for it.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # without the room, a later write would kill the process
                os.posix_fallocate(file.fileno(), 0, max(1, 4 * math.prod(shape)))
            return np.memmap(file, np.float32, "w+", shape=shape, order="F")
    except OSError as error:
        reason = error.strerror or error
        needed = f"{4 * math.prod(shape) / 1e9:.1f} GB"
        raise OutputError(f"{folder}: no room for {needed} of probabilities ({reason}); choose another disk") from error


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_output_dir(output_dir: str | os.PathLike[str], *, free_mib: int = 64) -> None:
    """Make a folder and try that it can be written, before hours are spent on what is to go there.

    Raises:
        OutputError: if it cannot be written or has less than `free_mib` MiB free.
    """
    folder = Path(output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"output_dir {folder}: cannot be written ({error.strerror}); choose another with --output_dir"
        ) from error
    free = shutil.disk_usage(folder).free / 2**20
    if free < free_mib:
        raise OutputError(
            f"output_dir {folder}: {free:.0f} MiB free, {free_mib} needed; "
            "free some or choose another disk with --output_dir"
        )


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` in UTF-8, replacing it at once.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
