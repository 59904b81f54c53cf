"""Named shapes that several packages share."""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class CodedTerm:
    """A concept of a terminology, such as SNOMED CT 5366008 'Hippocampus' (DICOM PS3.3 section 8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class LabelClass:
    """One foreground class: its label value (1, 2, ...), name, display colour (sRGB, 0-255) and coded term."""

    value: int
    name: str
    colour: Colour | None = None
    code: CodedTerm | None = None
