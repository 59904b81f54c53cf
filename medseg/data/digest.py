"""A short name for the content of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from medseg.data.datalist import Case
from medseg.images import files_at

_HEAD_BYTES = 1 << 20
_HEX_DIGITS = 16


def digest(cases: Iterable[Case]) -> str:
    """16 hexadecimal digits (SHA-256) that change when a case is added, renamed, or its files change.

    Hashed are the names of the cases and, of every file, its size and its first MiB: enough to tell
    two versions of a dataset apart without reading it all. The order of the cases and the place of
    the dataset on disk do not matter.

    Raises:
        OSError: a file cannot be read.
    """
    hashed = hashlib.sha256()
    for case in sorted(cases, key=lambda case: case.name):
        _add(hashed, f"case {case.name}")
        paths = [*(("image", path) for path in case.images), *(("label", path) for path in case.labels)]
        for role, path in paths:
            for file in files_at(path):
                with file.open("rb") as stream:
                    head = stream.read(_HEAD_BYTES)
                _add(hashed, f"{role} {file.stat().st_size} {len(head)}")
                hashed.update(head)
    return hashed.hexdigest()[:_HEX_DIGITS]


def _add(digest: hashlib._Hash, text: str) -> None:
    # The length in front keeps neighbouring texts apart, whatever characters a name holds.
    encoded = text.encode()
    digest.update(len(encoded).to_bytes(8, "big") + encoded)
