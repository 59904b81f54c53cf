"""A large file from the internet: what has arrived stays when a connection breaks, and the rest follows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from medseg.errors import DatasetError, OutputError

_BLOCK = 2**20
_GIB = 2**30
_PATIENCE = 60  # seconds without a byte
_PARTIAL, _NOTHING_LEFT = 206, 416  # HTTP's answers to "from this byte on"

Report = Callable[[int, int | None], None]


def download(url: str, part: Path, *, by_hand: str, space_for: float = 1, report: Report | None = None) -> None:
    """Fetch `url` into `part`, from the byte on where an earlier try broke off.

    MONAI's own `download_url` is not taken: it writes to the system's temporary folder, where 27 GB seldom
    fit, and begins again from the start.

    Args:
        url: of http or https.
        part: grows; complete once this returns, though its content is for the caller to check.
        by_hand: what a user can do instead, for the errors.
        space_for: how many times the file's size is needed on the disk in the end.
        report: called with the bytes there and in all (None if the server does not say).

    Raises:
        DatasetError: if the address cannot be reached or the connection breaks; `part` keeps what came.
        OutputError: if the disk has too little space.
    """
    have = part.stat().st_size if part.is_file() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer: HTTPResponse = urlopen(request, timeout=_PATIENCE)
    except HTTPError as error:
        if have and error.code == _NOTHING_LEFT:
            return
        raise DatasetError(f"{url}: the server answers {error.code} ({error.reason}); {by_hand}") from error
    except (URLError, OSError, HTTPException) as error:
        raise DatasetError(f"{url}: could not be reached ({_reason(error)}); {by_hand}") from error
    with answer:
        if answer.status != _PARTIAL:
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        if total is not None:
            check_space(part.parent, round(total * space_for) - have)
        try:
            with part.open("ab" if have else "wb") as file:
                for block in _blocks(answer, url, by_hand):
                    file.write(block)
                    have += len(block)
                    if report is not None:
                        report(have, total)
        except OSError as error:
            raise OutputError(
                f"{part}: cannot be written ({error.strerror}); choose another place with --to"
            ) from error
    if total is not None and have < total:
        raise DatasetError(f"{url}: broke off after {have} of {total} bytes; run it again to go on, or {by_hand}")


def check_space(folder: Path, needed: int) -> None:
    """That a folder's disk has `needed` bytes free.

    Raises:
        OutputError: if it has fewer.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder}: {free / _GIB:.1f} GiB free, {needed / _GIB:.1f} needed; free some or choose another with --to"
        )


def _blocks(answer: HTTPResponse, url: str, by_hand: str) -> Iterator[bytes]:
    while True:
        try:
            block = answer.read(_BLOCK)
        except (OSError, HTTPException) as error:
            raise DatasetError(f"{url}: broke off ({_reason(error)}); run it again to go on, or {by_hand}") from error
        if not block:
            return
        yield block


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
