"""The values of a data set, each read safely: a damaged one is an `ImageError` naming the file and the tag."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medseg.errors import ImageError

Numbers = tuple[float, ...]

_PLAIN = {"AE", "AS", "CS", "DA", "DS", "IS", "TM", "UI"}  # text that no character set changes


@cache
def tag_of(keyword: str | int) -> int:
    """The number of a tag. A plain int: pydicom's own compares ten times slower."""
    return int(Tag(keyword))


@cache
def _type_of(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


class Values:
    """The values of a data set, converted when asked for."""

    def __init__(self, dataset: Dataset, file: Path) -> None:
        self.file = file
        self._dataset = dataset
        self._elements = {int(tag): element for tag, element in dataset.items()}

    def has(self, keyword: str) -> bool:
        """Whether an element is there, be it empty."""
        return tag_of(keyword) in self._elements

    def raw(self, keyword: str | int) -> Any:
        """A value as pydicom gives it, but for text of several values, which is one; None where there is none."""
        element = self._elements.get(tag_of(keyword))
        if element is None:
            return None
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
            kind = element.VR or _type_of(tag_of(keyword))
            if kind in _PLAIN:  # most values of most files: pydicom takes much longer
                return element.value.decode("latin-1").strip(" \0") or None
            if kind == "US" and len(element.value) == 2:
                return struct.unpack("<H" if element.is_little_endian else ">H", element.value)[0]
        try:
            value = self._dataset[tag_of(keyword)].value
            return None if value is None or (hasattr(value, "__len__") and len(value) == 0) else value
        except Exception as error:  # pydicom converts here, and raises what it likes
            raise self._damaged(keyword) from error

    def text(self, keyword: str | int) -> str:
        """A value as text without control characters; empty where there is none."""
        value = self.raw(keyword)
        if value is None:
            return ""
        try:
            text = str(value) if not isinstance(value, (bytes, bytearray)) else value.hex()
        except Exception as error:
            raise self._damaged(keyword) from error
        if not text.isprintable():
            text = "".join(letter if letter.isprintable() else " " for letter in text)
        return text.strip()

    def texts(self, keyword: str) -> tuple[str, ...]:
        """A value of several texts."""
        value = self.raw(keyword)
        if value is None:
            return ()
        several = value.split("\\") if isinstance(value, str) else value
        return tuple(str(each).strip() for each in (several if isinstance(several, Sequence) else [several]))

    def numbers(self, keyword: str, count: int) -> Numbers | None:
        """`count` finite numbers, or None where there is no value."""
        value = self.raw(keyword)
        if value is None:
            return None
        try:
            several = value.split("\\") if isinstance(value, str) else value
            numbers = tuple(float(each) for each in (several if isinstance(several, Sequence) else [several]))
        except (TypeError, ValueError) as error:
            raise self._damaged(keyword) from error
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise self._damaged(keyword)
        return numbers

    def number(self, keyword: str) -> float | None:
        """A finite number, or None where there is no value."""
        numbers = self.numbers(keyword, 1)
        return None if numbers is None else numbers[0]

    def whole(self, keyword: str) -> int | None:
        """A whole number that is not negative, or None where there is no value."""
        number = self.number(keyword)
        if number is not None and (number < 0 or not number.is_integer()):
            raise self._damaged(keyword)
        return None if number is None else int(number)

    def items(self, keyword: str) -> list[Values]:
        """The items of a sequence; empty where there is none."""
        value = self.raw(keyword)
        if value is None:
            return []
        if not isinstance(value, pydicom.Sequence):
            raise self._damaged(keyword)
        return [Values(item, self.file) for item in value]

    def _damaged(self, keyword: str | int) -> ImageError:
        name = keyword if isinstance(keyword, str) else f"element {keyword:08x}"
        return ImageError(f"{self.file}: its {name} is no value that DICOM allows there; export it again")
