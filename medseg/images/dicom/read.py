"""A DICOM series as an image: chosen, checked, read.

What is met, and what becomes of it:

- several series, or volumes in one: a list as the error; `PATH::NUMBER` names one.
- localizer, SEG, RTSTRUCT, report beside one image series: the image is read, the others are told.
- planes at one place (echoes, time points, b-values, parts of the complex signal, acquisitions): split by the
  tag, or the few tags, that tell as many volumes apart as there are planes at a place.
- mixed orientation, size, pixel spacing, colour, SeriesNumber, frame of reference: split.
- time points that no tag tells apart: split where InstanceNumber has them one after the other, else refused.
- a file twice (SOPInstanceUID, or pixels and place): read once, told; refused where the pixels differ.
- missing slice, overlap, uneven or sideways steps (a slice further than 3 % of a step from an even grid):
  refused, naming the place and the distances.
- gantry tilt (steps over 0.2 degrees off the normal): carried in the affine, which is sheared; told.
- rescale that differs between slices: applied per slice.
- one slice: a volume as thick as SpacingBetweenSlices or SliceThickness; without, a picture in its place; told.
- no ImagePositionPatient: one file is a picture, spacing of the detector where there is no other, told;
  several are refused.
- multi-frame: frames are slices, each by its functional groups; without places (films, NM): refused.
- Siemens mosaic (ImageType): unfolded by its private header; without, a picture; told.
- colour: RGB channels; palette and YBR are converted.
- MONOCHROME1: X-rays are turned so that dense is bright, the values of CT, MR, PET stay; both told.
- PixelPaddingValue: values stay, as in SimpleITK and dcm2niix; their number is told.
- bits that BitsStored and HighBit leave out: no part of the value.
- damaged, truncated, of unknown encoding: refused, naming the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medseg.errors import ImageError
from medseg.images.dicom.files import impostors
from medseg.images.dicom.frames import Frame
from medseg.images.dicom.headers import IMAGE, LOCALIZER
from medseg.images.dicom.listing import Series, find_series
from medseg.images.dicom.mosaic import Mosaic, is_mosaic, mosaic_of, unknown_mosaic
from medseg.images.dicom.quiet import quiet
from medseg.images.dicom.slices import Stack, stack
from medseg.images.dicom.voxels import read_voxels
from medseg.images.geometry import Geometry
from medseg.images.image import Image

_MOST_LISTED = 30


def read_dicom(path: Path, *, series: str | None = None) -> Image:
    """Read one series as an image; HU for CT, stored values after rescale for all else.

    Args:
        path: a file, a folder with its subfolders, or a DICOMDIR.
        series: which of several: its number in `list_series`, its UID, its description or a part of that.

    Raises:
        ImageError: naming the file or series and what is wrong with it; see the table above.
    """
    with quiet():
        chosen = _choose(path, series)
        try:
            array, warnings = _voxels(chosen)
        except MemoryError as error:
            raise ImageError(f"{path}: too large for the memory here, or its size is damaged") from error
    frames, first = chosen.stack.frames, chosen.stack.frames[0].header
    return Image(
        array=array,
        geometry=chosen.stack.geometry,
        path=path,
        format="DICOM",
        files=tuple(dict.fromkeys(frame.header.file for frame in frames)),
        modality=first.modality,
        spatial_dims=chosen.stack.spatial_dims,
        warnings=(*chosen.warnings, *chosen.stack.warnings, *warnings),
    )


def read_dicom_geometry(path: Path, *, series: str | None = None) -> Geometry:
    """The grid of one series, from headers alone; see `read_dicom`."""
    with quiet():
        return _choose(path, series).stack.geometry


def read_stack(path: Path, *, series: str | None = None) -> Stack:
    """The planes of one series in the order of k, from headers alone: what an object refers to."""
    with quiet():
        return _choose(path, series).stack


@dataclass(frozen=True, eq=False)
class _Chosen:
    stack: Stack
    mosaic: Mosaic | None
    warnings: tuple[str, ...]


def _choose(path: Path, series: str | None) -> _Chosen:
    found = find_series(path)
    if not found:
        raise ImageError(f"{path}: holds no DICOM files")
    chosen = _by_name(path, found, series) if series is not None else _only(path, found)
    frames = chosen.part.frames
    if not frames:
        raise ImageError(
            f"{path}: no image as series {chosen.named(found.index(chosen) + 1)}; "
            "a label (SEG, RTSTRUCT) is read by the name of its file"
        )
    warnings = [*chosen.part.warnings, *(_beside(found, chosen) if series is None else ()), *_failed_copies(path)]
    mosaic = mosaic_of(frames[0]) if len(frames) == 1 and is_mosaic(frames[0].header) else None
    return _Chosen(_stack(frames, path, mosaic), mosaic, tuple(warnings))


def _stack(frames: Sequence[Frame], path: Path, mosaic: Mosaic | None) -> Stack:
    if mosaic is not None:
        return Stack(tuple(frames), mosaic.geometry)
    if not is_mosaic(frames[0].header):
        return stack(frames, path)
    flat = stack(frames, path)
    return Stack(flat.frames, flat.geometry, spatial_dims=2, warnings=(unknown_mosaic(),))


def _voxels(chosen: _Chosen) -> tuple[NDArray[Any], tuple[str, ...]]:
    voxels = read_voxels(chosen.stack.frames)
    return (chosen.mosaic.unfold(voxels.array) if chosen.mosaic else voxels.array), voxels.warnings


def _only(path: Path, found: Sequence[Series]) -> Series:
    for kind in (IMAGE, LOCALIZER):
        candidates = [each for each in found if each.kind == kind]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise ImageError(f"{path}: {_listed(found)}; name one as {path}::NUMBER")
    raise ImageError(f"{path}: no image, {_listed(found)}; a label (SEG, RTSTRUCT) is read by the name of its file")


def _by_name(path: Path, found: Sequence[Series], series: str) -> Series:
    wanted = series.strip()
    if wanted.isdecimal() and 1 <= int(wanted) <= len(found):
        return found[int(wanted) - 1]
    folded = wanted.casefold()
    for matches in (
        [each for each in found if each.uid == wanted],
        [each for each in found if each.description == wanted],
        [each for each in found if folded and folded in each.description.casefold()],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ImageError(f"{path}: '{wanted}' names {len(matches)} of its series ({_listed(found)}); take a number")
    raise ImageError(f"{path}: no series '{wanted}' in it ({_listed(found)}); take a number")


def _listed(found: Sequence[Series]) -> str:
    count = "1 series" if len(found) == 1 else f"{len(found)} series"
    lines = [each.named(number) for number, each in enumerate(found[:_MOST_LISTED], 1)]
    more = [f"{len(found) - _MOST_LISTED} more, see `medseg inspect`"] if len(found) > _MOST_LISTED else []
    return f"holds {count}: " + "; ".join(lines + more)


def _beside(found: Sequence[Series], chosen: Series) -> list[str]:
    others = [each.named(number) for number, each in enumerate(found, 1) if each is not chosen]
    return [f"not read, beside it: {'; '.join(others)}"] if others else []


def _failed_copies(path: Path) -> list[str]:
    files = impostors(path)
    return [f"{len(files)} files named .dcm are no DICOM files (first {files[0].name})"] if files else []
