"""DICOM segmentations (PS3.3 A.51) as label maps: each frame where its position says, whatever their order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import iter_pixels
from pydicom.uid import UID

from medseg.errors import ImageError
from medseg.images.dicom.files import has_class
from medseg.images.dicom.frames import Frame, frames_of
from medseg.images.dicom.headers import read_header
from medseg.images.dicom.quiet import quiet
from medseg.images.dicom.seg_grid import own_grid, placed
from medseg.images.dicom.sop_class import SEGMENTATION
from medseg.images.dicom.structures import Plane, draw
from medseg.images.dicom.values import Values
from medseg.images.geometry import Geometry
from medseg.images.image import Image
from medseg.types import CodedTerm, Colour, LabelClass

_LABEL_MAP = "LABELMAP"
_FRACTIONAL = "FRACTIONAL"
_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")  # one of them, by its length (PS3.3 8.1)


def is_seg(path: Path) -> bool:
    """Whether a file is a DICOM segmentation; False for whatever cannot be read."""
    return has_class(path, SEGMENTATION)


def read_seg(path: Path, *, grid: Geometry | None = None) -> Image:
    """Read a segmentation: binary, label map, or fractional (a voxel belongs from half of the maximum on).

    Args:
        path: the file.
        grid: of the image it was made on; None for the smallest grid that holds its frames.

    Returns:
        A label map `(i, j, k)` whose values are the segment numbers, or 0 and 1 in `(i, j, k, segment)` where
        segments overlap. Names, colours and coded terms stand in `classes`.

    Raises:
        ImageError: if it is damaged, its frames do not tell where they lie, or lie beside the grid.
    """
    with quiet():
        seg = _Segmentation.read(path)
        geometry = grid or own_grid(seg.frames, path)
        where = [placed(frame, geometry, path) for frame in seg.frames]
        array, warnings = draw(lambda: seg.planes(where), geometry.shape, seg.classes)
    return Image(
        array=array,
        geometry=geometry,
        path=path,
        format="DICOM SEG",
        files=(path,),
        modality="SEG",
        classes=seg.classes,
        warnings=(*seg.warnings(), *warnings),
    )


def read_seg_geometry(path: Path) -> Geometry:
    """The smallest grid that holds the frames of a segmentation; see `read_seg`."""
    with quiet():
        return own_grid(frames_of([read_header(path)]), path)


@dataclass(frozen=True, eq=False)
class _Segmentation:
    """The frames of a file, the segment of each (None where a frame holds all), and what the segments are."""

    dataset: pydicom.Dataset
    path: Path
    frames: list[Frame]
    segments: list[int | None]
    classes: tuple[LabelClass, ...]
    kind: str

    @classmethod
    def read(cls, path: Path) -> _Segmentation:
        header = read_header(path)
        frames = frames_of([header])
        try:
            dataset = pydicom.dcmread(path, force=True)
        except Exception as error:
            raise _damaged(path) from error
        values = Values(dataset, path)
        kind = values.text("SegmentationType")
        described = [_class(each) for each in values.items("SegmentSequence")]
        # Label maps may describe their background, the value 0, which is no class.
        classes = tuple(sorted((each for each in described if each.value), key=lambda each: each.value))
        segments = _no_segments(len(frames)) if kind == _LABEL_MAP else _segments(values, len(frames))
        unknown = {number for number in segments if number is not None} - {each.value for each in classes}
        if not classes or unknown or kind not in ("BINARY", _FRACTIONAL, _LABEL_MAP):
            raise ImageError(f"{path}: its segments are not described as DICOM asks for; export it again")
        return cls(dataset, path, frames, segments, classes, kind)

    def planes(self, where: list[Any]) -> Iterator[Plane]:
        """Each segment's part of each frame, `where` telling the place of the frames."""
        half = (Values(self.dataset, self.path).number("MaximumFractionalValue") or 1) / 2
        count = 0
        for pixels, segment, place in zip(self._pixels(), self.segments, where, strict=False):
            count += 1
            plane = place.turn(pixels)
            if segment is None:
                yield from (Plane(each.value, place.index, plane == each.value) for each in self.classes)
            else:
                yield Plane(segment, place.index, plane >= half if self.kind == _FRACTIONAL else plane > 0)
        if count < len(self.frames):
            raise _damaged(self.path)

    def warnings(self) -> list[str]:
        """What a user should know."""
        if self.kind != _FRACTIONAL:
            return []
        meaning = Values(self.dataset, self.path).text("SegmentationFractionalType").lower() or "fraction"
        return [f"a fractional segmentation ({meaning}): voxels count from one half on"]

    def _pixels(self) -> Iterator[NDArray[Any]]:
        known = {each.value for each in self.classes} | {0}
        frames = self._decoded()
        while True:
            try:
                pixels = next(frames)
            except StopIteration:
                return
            except Exception as error:  # every decoder raises errors of its own
                raise _damaged(self.path) from error
            if self.kind == _LABEL_MAP and not known.issuperset(np.unique(pixels).tolist()):
                raise ImageError(f"{self.path}: holds values that no segment has; export it again")
            yield pixels

    def _decoded(self) -> Iterator[NDArray[Any]]:
        header = self.frames[0].header
        compressed = UID(header.transfer_syntax).is_encapsulated
        if header.bits_allocated == 1 and header.rows * header.columns % 8 and not compressed:
            # pydicom 3.0.2 fails on frames that begin within a byte, or mixes them up.
            shape = (len(self.frames), header.rows, header.columns)
            packed = np.frombuffer(self.dataset.PixelData, np.uint8)
            yield from np.unpackbits(packed, bitorder="little")[: math.prod(shape)].reshape(shape)
        else:
            yield from iter_pixels(self.dataset, raw=True)


def _no_segments(frames: int) -> list[int | None]:
    return [None] * frames


def _segments(values: Values, frames: int) -> list[int | None]:
    each = values.items("PerFrameFunctionalGroupsSequence") or [values] * frames
    shared = values.items("SharedFunctionalGroupsSequence")
    found: list[int | None] = []
    for own in each:
        items = [item for group in (own, *shared) for item in group.items("SegmentIdentificationSequence")]
        number = items[0].whole("ReferencedSegmentNumber") if items else None
        if number is None:
            raise ImageError(f"{values.file}: a frame does not tell its segment; export it again")
        found.append(number)
    return found


def _class(segment: Values) -> LabelClass:
    number = segment.whole("SegmentNumber")
    if number is None:
        raise ImageError(f"{segment.file}: a segment without SegmentNumber; export it again")
    terms = segment.items("SegmentedPropertyTypeCodeSequence")
    code = _term(terms[0]) if terms else None
    return LabelClass(number, segment.text("SegmentLabel") or f"segment {number}", _colour(segment), code)


def _term(values: Values) -> CodedTerm | None:
    code = next((text for each in _CODE_VALUES if (text := values.text(each))), "")
    scheme, meaning = values.text("CodingSchemeDesignator"), values.text("CodeMeaning")
    return CodedTerm(code, scheme, meaning) if code and scheme and meaning else None


def _colour(segment: Values) -> Colour | None:
    from highdicom.color import CIELabColor

    lab = segment.numbers("RecommendedDisplayCIELabValue", 3)
    if lab is None or not all(0 <= each <= 65535 for each in lab):
        return None
    red, green, blue = CIELabColor.from_dicom_value(tuple(int(each) for each in lab)).to_rgb()
    return int(red), int(green), int(blue)


def _damaged(path: Path) -> ImageError:
    return ImageError(f"{path}: its frames are truncated or damaged; fetch it again")
