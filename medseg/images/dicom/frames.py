"""The planes of DICOM files: one of a classic file, many of a multi-frame one, each with its own place.

An enhanced multi-frame file says in functional groups (PS3.3 C.7.6.16) what a classic file says in its
header: for all frames in the shared groups, or for each in the per-frame groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from medseg.errors import ImageError
from medseg.images.dicom.headers import MARKS, Header
from medseg.images.dicom.values import Numbers, Values

# Functional group sequence and value in it: what tells frames at one place apart, by its name.
_GROUP_MARKS = (
    ("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIndex"),
    ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
    ("MRDiffusionSequence", "DiffusionBValue", "b-value"),
    ("MRImageFrameTypeSequence", "FrameType", "FrameType"),
    ("MRImageFrameTypeSequence", "ComplexImageComponent", "ComplexImageComponent"),
    ("CTImageFrameTypeSequence", "FrameType", "FrameType"),
    ("PETFrameTypeSequence", "FrameType", "FrameType"),
    ("FrameContentSequence", "StackID", "StackID"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    ("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane of pixels.

    Attributes:
        header: of its file.
        index: of this plane in its file, from 0.
        position: centre of the first pixel, LPS+ mm; None where the file does not tell.
        directions: along a row (to the next column), then along a column; LPS+.
        spacing: distance between rows, then between columns, mm.
        thickness: SliceThickness, mm.
        between: SpacingBetweenSlices, mm.
        slope: value = stored * slope + intercept.
        intercept: see slope.
        marks: what may tell it from another plane at its place, by name.
    """

    header: Header
    index: int
    position: Numbers | None
    directions: Numbers | None
    spacing: Numbers | None
    thickness: float | None
    between: float | None
    slope: float
    intercept: float
    marks: dict[str, str]


def frames_of(headers: Iterable[Header]) -> list[Frame]:
    """Every plane of the images among `headers`.

    Raises:
        ImageError: for a value that is none, or functional groups that do not fit the number of frames.
    """
    return [frame for header in headers for frame in _frames(header)]


def _frames(header: Header) -> list[Frame]:
    each = header.values.items("PerFrameFunctionalGroupsSequence")
    shared = header.values.items("SharedFunctionalGroupsSequence")
    if not each and not shared:
        one = header.frames == 1
        return [_classic(header)] if one else [_without_place(header, index) for index in range(header.frames)]
    if not each:
        each = shared * header.frames
    if len(each) != header.frames:
        raise ImageError(
            f"{header.file}: NumberOfFrames is {header.frames} and {len(each)} frames are described; export it again"
        )
    return [_enhanced(header, index, [own, *shared[:1]]) for index, own in enumerate(each)]


def _classic(header: Header) -> Frame:
    values = header.values
    return Frame(
        header=header,
        index=0,
        position=values.numbers("ImagePositionPatient", 3),
        directions=values.numbers("ImageOrientationPatient", 6),
        spacing=values.numbers("PixelSpacing", 2),
        thickness=values.number("SliceThickness"),
        between=values.number("SpacingBetweenSlices"),
        slope=_slope(values),
        intercept=values.number("RescaleIntercept") or 0.0,
        marks={name: text for tag, name in MARKS if (text := values.text(tag))},
    )


def _enhanced(header: Header, index: int, groups: list[Values]) -> Frame:
    def group(name: str) -> Values:
        """The first functional group of that name, of the frame or shared; else the file's own values."""
        return next((items[0] for values in groups if (items := values.items(name))), header.values)

    measures, transformation = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
    return Frame(
        header=header,
        index=index,
        position=group("PlanePositionSequence").numbers("ImagePositionPatient", 3),
        directions=group("PlaneOrientationSequence").numbers("ImageOrientationPatient", 6),
        spacing=measures.numbers("PixelSpacing", 2),
        thickness=measures.number("SliceThickness"),
        between=measures.number("SpacingBetweenSlices"),
        slope=_slope(transformation),
        intercept=transformation.number("RescaleIntercept") or 0.0,
        marks={
            name: text
            for sequence, keyword, name in _GROUP_MARKS
            if (found := group(sequence)) is not header.values and (text := found.text(keyword))
        }
        | _dimensions(group("FrameContentSequence")),
    )


def _dimensions(content: Values) -> dict[str, str]:
    """Where a frame stands in each of the dimensions that a file is sorted by, whatever these are."""
    return {f"dimension {number}": text for number, text in enumerate(content.texts("DimensionIndexValues"), 1)}


def _without_place(header: Header, index: int) -> Frame:
    values = header.values
    spacing, slope = values.numbers("PixelSpacing", 2), _slope(values)
    return Frame(header, index, None, None, spacing, None, None, slope, values.number("RescaleIntercept") or 0.0, {})


def _slope(values: Values) -> float:
    slope = values.number("RescaleSlope")
    if slope == 0:
        raise ImageError(f"{values.file}: its RescaleSlope is 0, so its values are lost; export it again")
    return 1.0 if slope is None else slope
