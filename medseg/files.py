"""Files that appear whole or not at all."""

from __future__ import annotations

import os
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
        raise OutputError(
            f"{path}: cannot be written ({reason}); choose another place or free some space"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` in UTF-8, replacing it at once.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
