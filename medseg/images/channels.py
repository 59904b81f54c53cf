"""Several files as the channels of one image, by nnU-Net's naming: `CASE_0000`, `CASE_0001`, ..."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from medseg.errors import ImageError

T = TypeVar("T")
_NAME = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


def are_channels(names: list[str]) -> bool:
    """Whether every name ends in the number of a channel."""
    return bool(names) and all(_NAME.fullmatch(name) for name in names)


def group_channels(images: Mapping[str, T]) -> dict[str, tuple[T, ...]]:
    """Case -> what `images` holds for its channels, in their order; sorted by case.

    Raises:
        ImageError: for a name without the number of a channel, a channel that is missing, and cases of
            different channels.
    """
    cases: dict[str, dict[int, T]] = {}
    for name, image in images.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise ImageError(f"{name}: expected one file per channel, named {name}_0000, {name}_0001, ...")
        cases.setdefault(match["case"], {})[int(match["channel"])] = image
    most = max(len(channels) for channels in cases.values())
    for case, channels in cases.items():
        missing = [number for number in range(most) if number not in channels]
        if missing:
            raise ImageError(f"{case}: its channel {case}_{missing[0]:04d} is missing; other channels or cases have it")
    return {case: tuple(channels[number] for number in range(most)) for case, channels in sorted(cases.items())}
