"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medseg.errors import OutputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path in the same folder to write to; on success it becomes `path`, on failure it is gone.

    The folder is made if absent. The name written to ends like `path` (`.nii.gz` stays `.nii.gz`), for
    the writers that decide by it.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".part-{os.getpid()}-{path.name}")
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
