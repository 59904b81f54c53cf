"""What one DICOM file says of itself, each value read safely: a damaged one is an `ImageError` naming the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.filereader import read_partial
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medseg.errors import ImageError
from medseg.images.dicom.sop_class import SEGMENTATION, STORAGE, STRUCTURE_SET
from medseg.images.dicom.values import Values, tag_of

IMAGE = "image"
LOCALIZER = "localizer"
OTHER = "other"

_KINDS = dict.fromkeys(SEGMENTATION, "segmentation") | dict.fromkeys(STRUCTURE_SET, "structure set")
# Objects with pixels that are no scans: surfaces, registrations, doses, plans, parametric maps, slides.
_NO_SCANS = ("66.", "481.", "30", "77.1.6", "9.", "11.", "88.", "104.", "500.", "600.")
_RT_IMAGE = "481.1"

# What tells apart volumes that one series holds at the same places, the most telling first.
MARKS: tuple[tuple[str | int, str], ...] = (
    ("TemporalPositionIdentifier", "TemporalPositionIdentifier"),
    ("EchoTime", "EchoTime"),
    ("EchoNumbers", "EchoNumber"),
    ("DiffusionBValue", "b-value"),
    (0x0019100C, "b-value (Siemens)"),
    (0x20011003, "b-value (Philips)"),
    (0x00431039, "b-value (GE)"),
    ("DiffusionGradientOrientation", "diffusion gradient"),
    (0x0019100E, "diffusion gradient (Siemens)"),
    ("ImageType", "ImageType"),
    ("InversionTime", "InversionTime"),
    ("FlipAngle", "FlipAngle"),
    ("TriggerTime", "TriggerTime"),
    ("KVP", "KVP"),
    ("ConvolutionKernel", "ConvolutionKernel"),
    ("AcquisitionNumber", "AcquisitionNumber"),
    ("AcquisitionTime", "AcquisitionTime"),
    ("ContentTime", "ContentTime"),
)
_WANTED: tuple[str | int, ...] = (
    *(tag for tag, _ in MARKS),
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality"),
    *("InstanceNumber", "FrameOfReferenceUID", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "RealWorldValueMappingSequence"),
)
_TAGS = [tag_of(wanted) for wanted in _WANTED]
_FRAMES_OF_A_DEFLATED_FILE = 2**16
_PIXELS = {0x7FE00010, 0x7FE00009, 0x7FE00008}


@dataclass(frozen=True, eq=False)
class Header:
    """The facts of one file that hold for all of its frames.

    Attributes:
        values: what else the file says, by keyword.
        pixels_at: byte at which the pixel data element begins; None in a deflated file.
        little_endian: of the pixels.
        implicit: whether elements do not tell the type of their value.
        padding: lowest and highest stored value of pixels that are none.
    """

    file: Path
    values: Values
    kind: str
    transfer_syntax: str
    pixels_at: int | None
    little_endian: bool
    implicit: bool
    sop_class: str
    instance: str
    series: str
    series_number: int | None
    description: str
    modality: str | None
    image_type: tuple[str, ...]
    instance_number: int | None
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None

    @property
    def is_scan(self) -> bool:
        """Whether it holds pixels of a scan, localizers included."""
        return self.kind in (IMAGE, LOCALIZER)


def read_header(file: Path) -> Header:
    """Read what comes before the pixels.

    Raises:
        ImageError: if the file is damaged: cut short, without class, with values that are none.
    """
    try:
        with file.open("rb") as stream:
            dataset = read_partial(stream, stop_when=_at_pixels, force=True, specific_tags=_TAGS)
            stopped_at, size = stream.tell(), os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise ImageError(f"{file}: cannot be read ({error.strerror}); ask its owner for permission") from error
    except Exception as error:  # pydicom documents none of what it raises for damaged files
        raise ImageError(f"{file}: a damaged DICOM file ({type(error).__name__}); fetch it again") from error
    return _header(file, dataset, pixels_at=stopped_at if stopped_at < size else None)


def _at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
    return tag in _PIXELS


def _header(file: Path, dataset: pydicom.FileDataset, *, pixels_at: int | None) -> Header:
    values = Values(dataset, file)
    implicit, little_endian = dataset.original_encoding
    sop_class = values.text("SOPClassUID") or Values(dataset.file_meta, file).text("MediaStorageSOPClassUID")
    if not sop_class:
        raise ImageError(f"{file}: a damaged DICOM file (it does not tell its class); fetch it again")
    syntax = _transfer_syntax(dataset, file)
    allocated = values.whole("BitsAllocated") or 0
    stored = values.whole("BitsStored") or allocated
    high = values.whole("HighBit")
    image_type = values.texts("ImageType")
    signed = values.whole("PixelRepresentation") == 1
    kind = _kind(sop_class, image_type, has_rows=values.has("Rows"))
    deflated = syntax == DeflatedExplicitVRLittleEndian
    header = Header(
        file=file,
        values=values,
        kind=kind,
        transfer_syntax=syntax,
        pixels_at=None if deflated else pixels_at,
        little_endian=bool(little_endian),
        implicit=bool(implicit),
        sop_class=sop_class,
        instance=values.text("SOPInstanceUID"),
        series=values.text("SeriesInstanceUID"),
        series_number=_integer(values, "SeriesNumber"),
        description=values.text("SeriesDescription"),
        modality=values.text("Modality") or None,
        image_type=image_type,
        instance_number=_integer(values, "InstanceNumber"),
        rows=values.whole("Rows") or 0,
        columns=values.whole("Columns") or 0,
        frames=values.whole("NumberOfFrames") or 1,
        samples=values.whole("SamplesPerPixel") or 1,
        photometric=values.text("PhotometricInterpretation"),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        signed=signed,
        padding=_padding(values, signed=signed),
    )
    if header.is_scan:
        _check_image(header, has_pixels=pixels_at is not None or deflated)
    return header


def _check_image(header: Header, *, has_pixels: bool) -> None:
    file = header.file
    if not has_pixels:
        raise ImageError(f"{file}: an image without pixels, cut short or damaged; fetch it again")
    needed = {"Rows": header.rows, "Columns": header.columns, "BitsAllocated": header.bits_allocated}
    for keyword, value in needed.items():
        if value < 1:
            raise ImageError(f"{file}: an image without {keyword}; export it again")
    # Compressed or not, a frame takes bytes; only a deflated file may have fewer than it will hold.
    if header.frames > max(file.stat().st_size, _FRAMES_OF_A_DEFLATED_FILE):
        raise ImageError(f"{file}: NumberOfFrames is {header.frames}, more than the file can hold; export it again")
    if not header.photometric:
        raise ImageError(f"{file}: an image without PhotometricInterpretation; export it again")
    if not (0 < header.bits_stored <= header.bits_allocated and header.bits_stored - 1 <= header.high_bit) or (
        header.high_bit >= header.bits_allocated
    ):
        raise ImageError(
            f"{file}: BitsAllocated {header.bits_allocated}, BitsStored {header.bits_stored} and HighBit "
            f"{header.high_bit} contradict each other; export it again"
        )


def _transfer_syntax(dataset: pydicom.FileDataset, file: Path) -> str:
    named = Values(dataset.file_meta, file).text("TransferSyntaxUID")
    if named:
        return named
    implicit, little_endian = dataset.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian)


def _kind(sop_class: str, image_type: tuple[str, ...], *, has_rows: bool) -> str:
    if sop_class in _KINDS:
        return _KINDS[sop_class]
    within = sop_class.removeprefix(STORAGE)
    no_scan = within.startswith(_NO_SCANS) and within != _RT_IMAGE
    if no_scan or not (has_rows or _is_image_class(sop_class)):
        return OTHER
    return LOCALIZER if "LOCALIZER" in image_type else IMAGE


def _is_image_class(sop_class: str) -> bool:
    name = pydicom.uid.UID(sop_class).name
    return sop_class.startswith(STORAGE) and "Image Storage" in name


def _padding(values: Values, *, signed: bool) -> tuple[int, int] | None:
    """PixelPaddingValue may be typed as unsigned where pixels are signed, and the other way round."""
    bounds = [values.number(keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [int(bound) for bound in bounds if bound is not None]
    if bounds[0] is None:
        return None
    if signed:
        known = [bound - 65536 if bound > 32767 else bound for bound in known]
    else:
        known = [bound + 65536 if bound < 0 else bound for bound in known]
    return min(known), max(known)


def _integer(values: Values, keyword: str) -> int | None:
    """A number that only sorts and names: one that is none is left out."""
    try:
        number = values.number(keyword)
    except ImageError:
        return None
    return None if number is None else int(number)
