"""Everything that can go wrong for a user, said once.

    MedsegError
    ├── ConfigError    an unknown or misspelt id, a layer, an override
    ├── BundleError    a bundle folder that is incomplete or not one
    ├── DatasetError   a missing, empty or inconsistent dataset
    ├── ImageError     a file that cannot be read as an image or label
    └── OutputError    a place that cannot be written

A message names the file or key, what is wrong with it, and what to do. A user who causes one of
these sees that message on one line, never a traceback (`one_line_errors`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import TracebackType


class MedsegError(Exception):
    """Something a user caused and can mend; its text is all that a user needs to read."""


class ConfigError(MedsegError):
    """An unknown or misspelt config id, a wrong value, a layer that does not fit the bundle."""


class BundleError(MedsegError):
    """A bundle folder that is incomplete, or no bundle at all."""


class DatasetError(MedsegError):
    """A dataset that is missing, empty, or whose images and labels do not agree."""


class ImageError(MedsegError):
    """A file or folder that cannot be read as an image or a label."""


class OutputError(MedsegError):
    """An output directory that cannot be written, or a full disk."""


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, and what it was raised from, down to the first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def user_error_in(error: BaseException | None) -> MedsegError | None:
    """The `MedsegError` that `error` is or was raised from, however deeply MONAI wrapped it."""
    return next((each for each in causes_of(error) if isinstance(each, MedsegError)), None)


def on_one_line(text: str) -> str:
    """`text` with line breaks and terminal codes, which a file's name may hold, written out."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def reason(error: BaseException, *, most: int = 200) -> str:
    """Why a library failed, on one line of at most so many letters: for the middle of a message of ours."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def one_line_errors() -> None:
    """Print an uncaught `MedsegError` as one line on stderr; leave every other error to Python."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        mine = user_error_in(error)
        if mine is None:
            previous(kind, error, trace)
        else:
            sys.stderr.write(f"medseg: error: {on_one_line(str(mine))}\n")

    if getattr(previous, "_medseg", False):
        return
    hook._medseg = True  # type: ignore[attr-defined]
    sys.excepthook = hook
