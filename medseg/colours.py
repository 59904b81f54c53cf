"""Colours for classes that come without."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

from medseg.types import Colour

_GOLDEN = 0.618034  # of a turn of hue: neighbours in the list never look alike


def distinct_colours(values: Iterable[int]) -> dict[int, Colour]:
    """A bright colour (sRGB, 0-255) for each label value, the same one for the same value every time."""
    return {value: _colour(value) for value in values}


def _colour(value: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(value * _GOLDEN % 1, 0.75 if value % 2 else 0.55, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
