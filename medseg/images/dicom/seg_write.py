"""Label maps as DICOM segmentations (PS3.3 A.51), through highdicom.

Binary segments of one bit per voxel, empty frames left out, in Explicit VR Little Endian: what every viewer
reads. Compression would save little (a bit per voxel already) and cost readers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from medseg.errors import ImageError
from medseg.files import replacing
from medseg.images.dicom.quiet import quiet
from medseg.images.dicom.read import read_stack
from medseg.images.dicom.slices import Stack
from medseg.types import CodedTerm, LabelClass

# Attributes that the study of every object has, if only empty (PS3.3 C.7.1.1, C.7.2.1): highdicom copies them.
_OF_THE_STUDY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_LONGEST_LABEL = 64  # characters of a DICOM LO
_CHECKED = {"DA": DA, "TM": TM}  # types that highdicom converts and pydicom does not
_SEXES = ("M", "F", "O")
_UTF8 = "ISO_IR 192"
_SERIES_NUMBER = 900  # behind those of the scanner
_ANATOMY = Code("91723000", "SCT", "Anatomical structure")
_TISSUE = CodedTerm("85756007", "SCT", "Tissue")


def write_seg(
    path: Path,
    labels: NDArray[Any],
    *,
    source: Path,
    classes: Sequence[LabelClass],
    algorithm_name: str,
    algorithm_version: str,
    series: str | None = None,
) -> None:
    """Write a label map as a segmentation of the DICOM images it was made on.

    Every class becomes a segment, numbered from 1 in the order of their values, with its name, colour and coded
    term (SNOMED CT); the object refers to every image and keeps patient, study and frame of reference.

    Args:
        path: the file; it appears whole or not at all.
        labels: integers or bool `(i, j, k)` on the grid of `read_dicom(source, series=series)`.
        source: file or folder of the images.
        classes: of the values above 0.
        algorithm_name: what made the labels, such as a bundle.
        algorithm_version: of that.
        series: which one of `source`, as for `read_dicom`.

    Raises:
        ValueError: if the labels have another shape, are no integers, or hold a value without class; or if two
            classes have one value.
        ImageError: if the source cannot be read, or no segmentation can refer to it.
        OutputError: if the file cannot be written.
    """
    stack = read_stack(source, series=series)
    classes = sorted(classes, key=lambda each: each.value)
    _check(labels, stack, classes)
    labels = labels.astype(np.uint8) if labels.dtype.kind == "b" else labels
    with quiet():
        images = _images(stack, source)
        with replacing(path) as beside:
            frames = _frames(labels, stack, classes, images)
            try:
                _segmentation(frames, images, stack, classes, (algorithm_name, algorithm_version)).save_as(beside)
            except (ValueError, TypeError, AttributeError, KeyError) as error:  # may quote the patient's name
                raise ImageError(
                    f"{source}: no DICOM SEG can be made of its headers ({type(error).__name__}); write NIfTI"
                ) from None


def _check(labels: NDArray[Any], stack: Stack, classes: Sequence[LabelClass]) -> None:
    if labels.shape != stack.geometry.shape:
        raise ValueError(f"labels have shape {labels.shape}, the source {stack.geometry.shape}")
    if labels.dtype.kind not in "iub":
        raise ValueError(f"labels are {labels.dtype}, expected integers")
    values = [each.value for each in classes]
    if not values or values[0] < 1 or len(set(values)) < len(values):
        raise ValueError(f"classes have the values {values}: expected one or more, each above 0 and once")
    nameless = set(np.unique(labels).tolist()) - {0, *values}
    if nameless:
        raise ValueError(f"labels without a class: {sorted(nameless)}")


def _images(stack: Stack, source: Path) -> list[pydicom.Dataset]:
    """The headers of the files in the order of k, with what DICOM asks for and scanners forget."""
    if len(stack.frames) != stack.geometry.shape[2]:
        raise ImageError(f"{source}: a Siemens mosaic, which a DICOM SEG cannot refer to slice by slice; write NIfTI")
    if any(frame.position is None for frame in stack.frames):
        raise ImageError(f"{source}: does not tell where it lies, which a DICOM SEG must; write NIfTI or PNG")
    frame_of_reference = generate_uid()
    images: list[pydicom.Dataset] = []
    for file in dict.fromkeys(frame.header.file for frame in stack.frames):
        image = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
            if not image.get(keyword):
                raise ImageError(f"{file}: has no {keyword}, so nothing can refer to it; export it again")
        if not image.get("FrameOfReferenceUID"):
            image.FrameOfReferenceUID = frame_of_reference
        _complete(image, stack)
        images.append(image)
    return images


def _complete(image: pydicom.Dataset, stack: Stack) -> None:
    """Bring a header, in memory, to what DICOM and highdicom ask for where its scanner did not."""
    for tag in [tag for tag in image.keys() if not _is_sound(image, tag)]:  # noqa: SIM118, values would be converted
        del image[tag]
    image.decode()  # says what it says in the file's own character set, and is written in UTF-8
    image.SpecificCharacterSet = _UTF8
    if image.get("PatientSex") not in _SEXES:
        image.pop("PatientSex", None)
    for keyword in _OF_THE_STUDY:
        if keyword not in image:
            setattr(image, keyword, "")
    if not re.fullmatch(r"\d{3}[DWMY]", str(image.get("PatientAge", ""))):  # an optional value, and not to be repaired
        image.pop("PatientAge", None)
    if image.get("PatientIdentityRemoved") == "YES" and not image.get("DeidentificationMethod"):
        image.DeidentificationMethod = "not told by the source"
    if not image.get("SliceThickness"):
        image.SliceThickness = stack.geometry.spacing[2]
    if "PerFrameFunctionalGroupsSequence" in image:  # what is equal for all frames may stand in each
        shared, first = image.SharedFunctionalGroupsSequence[0], image.PerFrameFunctionalGroupsSequence[0]
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            if keyword not in shared and keyword in first:
                setattr(shared, keyword, first[keyword].value)


def _is_sound(image: pydicom.Dataset, tag: BaseTag) -> bool:
    """Whether a value is what its type asks for. What is not cannot be copied, and no error may quote it."""
    try:
        element = image[tag]
        if element.VR in _CHECKED and element.value:
            _CHECKED[element.VR](element.value)
    except Exception:  # pydicom documents none of what it raises
        return False
    return True


def _frames(
    labels: NDArray[Any], stack: Stack, classes: Sequence[LabelClass], images: Sequence[pydicom.Dataset]
) -> NDArray[np.uint16]:
    """Segment numbers `(frame, row, column)` in the order of the images, or of the frames of a multi-frame one."""
    number = np.zeros(int(max(each.value for each in classes)) + 1, np.uint16)
    number[[each.value for each in classes]] = range(1, len(classes) + 1)
    frames: NDArray[np.uint16] = number[labels].transpose(2, 1, 0)
    if len(images) > 1 or stack.frames[0].header.frames == 1:
        return frames
    whole = np.zeros((stack.frames[0].header.frames, *frames.shape[1:]), frames.dtype)
    whole[[frame.index for frame in stack.frames]] = frames
    return whole


def _segmentation(
    frames: NDArray[Any],
    images: list[pydicom.Dataset],
    stack: Stack,
    classes: Sequence[LabelClass],
    algorithm: tuple[str, str],
) -> pydicom.Dataset:
    from highdicom import AlgorithmIdentificationSequence, PixelMeasuresSequence  # takes a second to import
    from highdicom.seg import Segmentation

    import medseg

    name, version = (_text(each) or "unknown" for each in algorithm)
    i, j, k = stack.geometry.spacing
    made_by = AlgorithmIdentificationSequence(name, codes.cid7162.ArtificialIntelligence, version)
    if frames.max(initial=0) <= 255:
        frames = frames.astype(np.uint8)
    return Segmentation(
        source_images=images,
        pixel_array=frames,
        segmentation_type="BINARY",
        omit_empty_frames=bool(frames.any()),
        segment_descriptions=[_segment(index, each, made_by) for index, each in enumerate(classes, 1)],
        series_instance_uid=generate_uid(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="medseg",
        manufacturer_model_name=name[:_LONGEST_LABEL],
        software_versions=medseg.__version__,
        device_serial_number="none",
        pixel_measures=PixelMeasuresSequence(pixel_spacing=(j, i), slice_thickness=k, spacing_between_slices=k),
        content_label="SEGMENTATION",
        content_description=f"Segmentation by {name}"[:_LONGEST_LABEL],
        series_description=f"Segmentation by {name}"[:_LONGEST_LABEL],
    )


def _segment(number: int, each: LabelClass, made_by: Any) -> Any:
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    code = each.code or _TISSUE
    return SegmentDescription(
        segment_number=number,
        segment_label=_text(each.name) or f"label {each.value}",
        segmented_property_category=_ANATOMY,
        segmented_property_type=Code(code.value, code.scheme, _text(code.meaning)),
        algorithm_type="AUTOMATIC",
        algorithm_identification=made_by,
        display_color=CIELabColor.from_rgb(*each.colour) if each.colour else None,
    )


def _text(value: str) -> str:
    """Text as a DICOM LO may hold it: no backslash, which parts values, no control characters, 64 characters."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in value)
    return " ".join(plain.split())[:_LONGEST_LABEL].strip()
