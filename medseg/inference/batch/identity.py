"""What a row of results is of: the model that segmented a case, and the input that it segmented."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.errors import ImageError
from medseg.images import files_at, split_series

_DIGITS = 12
_FOUND_OUT = ("memory", "needed", "_known")  # attributes of inferers that they change as they run
_SAMPLE = 1 << 16  # bytes at the beginning, the middle and the end of a file


def model_identity(metadata: Mapping[str, Any], network: torch.nn.Module, *settings: object) -> str:
    """Such as `hippocampus_mri_3d 0.1.0 5f0c1a2b3c4d`: the same weights and settings give the same on any device.

    Args:
        metadata: of the bundle.
        network: with its weights.
        settings: what else makes other labels of the same scan: numbers and words, or components (preprocessing,
            inferer) as they were built, whose classes and attributes count. The number format does not, for
            `precision: auto` is another one on another machine.
    """
    digest = hashlib.sha256(_described(settings).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"{metadata['name']} {metadata['version']} {digest.hexdigest()[:_DIGITS]}"


def input_identity(image: str | Sequence[str]) -> str:
    """A digest of the files that a scan's path, or its channels' paths, lead to; empty where one leads nowhere.

    Names, sizes, times of change and some bytes count, wherever the files lie: scans are large, and of those that
    have been segmented thousands are looked at before the first is left out.
    """
    digest = hashlib.sha256()
    try:
        for path in [image] if isinstance(image, str) else image:
            files, series = files_at(path), split_series(path)[1]
            for file in files:
                state = file.stat()
                digest.update(
                    f"{series} {file.name} {state.st_size} {state.st_mtime:.0f}\n".encode(errors="surrogateescape")
                )
            for number in sorted({0, len(files) // 2, len(files) - 1}) if files else ():
                digest.update(_some_of(files[number]))
    except (ImageError, OSError):
        return ""
    return digest.hexdigest()[:_DIGITS]


def _some_of(file: Path) -> bytes:
    with file.open("rb") as stream:
        size = file.stat().st_size
        found = b""
        for start in (0, size // 2, max(0, size - _SAMPLE)):
            stream.seek(start)
            found += stream.read(_SAMPLE)
    return found


def _described(thing: object, within: tuple[int, ...] = ()) -> str:
    """A value, or a component's class and attributes, in words that are the same in every process."""
    if thing is None or isinstance(thing, str | bytes | bool | int | float):
        return repr(thing)
    if isinstance(thing, np.ndarray | torch.Tensor):
        return repr(thing.tolist())
    if id(thing) in within:
        return "itself"
    within = (*within, id(thing))
    if isinstance(thing, Mapping):
        return "{" + ", ".join(f"{key!r}: {_described(each, within)}" for key, each in thing.items()) + "}"
    if isinstance(thing, list | tuple):
        return "[" + ", ".join(_described(each, within) for each in thing) + "]"
    kind = thing if isinstance(thing, type) else type(thing)
    name = getattr(thing, "__qualname__", kind.__qualname__)  # of a function its own
    attributes = {} if isinstance(thing, type) else getattr(thing, "__dict__", {})
    settings = {key: each for key, each in attributes.items() if key not in _FOUND_OUT}
    return f"{kind.__module__}.{name}{_described(settings, within)}"
