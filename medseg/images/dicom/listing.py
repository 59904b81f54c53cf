"""The DICOM series of a path, each volume of a series choosable by a number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from medseg.errors import ImageError
from medseg.images.dicom.files import dicom_files
from medseg.images.dicom.frames import Frame, frames_of
from medseg.images.dicom.headers import IMAGE, OTHER, Header, read_header
from medseg.images.dicom.mosaic import is_mosaic, mosaic_of
from medseg.images.dicom.quiet import quiet
from medseg.images.dicom.slices import stack
from medseg.images.dicom.split import Part, split
from medseg.images.geometry import Geometry


@dataclass(frozen=True)
class SeriesInfo:
    """One volume, or one object that is none, of a path.

    Attributes:
        number: its place in the list, from 1.
        uid: SeriesInstanceUID; volumes that were split from one series share it.
        description: SeriesDescription, and what tells volumes of one series apart.
        modality: such as CT, MR, SEG.
        size: columns, rows, slices (frames); None where there are no pixels.
        spacing: mm along columns, rows, slices; None where it is not told, or the slices are no regular volume.
        files: as found, sorted by path.
        kind: "image", "localizer", "segmentation", "structure set" or "other".
    """

    number: int
    uid: str
    description: str
    modality: str | None
    size: tuple[int, int, int] | None
    spacing: tuple[float, float, float] | None
    files: tuple[Path, ...]
    kind: str


@dataclass(frozen=True, eq=False)
class Series:
    """A volume that was found: its planes (none for an object without), and how it is listed."""

    headers: tuple[Header, ...]
    part: Part

    @property
    def kind(self) -> str:
        """As in `SeriesInfo`."""
        return self.headers[0].kind

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.headers[0].series

    @property
    def description(self) -> str:
        """SeriesDescription, and what tells volumes of one series apart."""
        description, note = self.headers[0].description, self.part.note
        return f"{description} ({note})".strip() if note else description

    @property
    def size(self) -> tuple[int, int, int] | None:
        """Columns, rows, slices; of a mosaic those of the volume that it unfolds to."""
        first = self.headers[0]
        if not first.rows or not first.columns:
            return None
        if self.part.frames and is_mosaic(first) and (mosaic := mosaic_of(self.part.frames[0])):
            return mosaic.geometry.shape
        return first.columns, first.rows, len(self.part.frames) or first.frames

    def named(self, number: int) -> str:
        """One line for a message: what tells volumes apart, and no SeriesDescription, which may tell of a patient."""
        size = " x ".join(map(str, self.size)) if self.size else f"{len(self.headers)} files"
        what = {IMAGE: "", OTHER: pydicom.uid.UID(self.headers[0].sop_class).name}.get(self.kind, self.kind)
        note = f"'({self.part.note})'" if self.part.note else ""
        words = [self.headers[0].modality or "?", what, size, note]
        return f"{number} = {' '.join(filter(None, words))}"


def list_series(path: Path) -> list[SeriesInfo]:
    """What a DICOM file, folder or DICOMDIR holds, sorted by SeriesNumber, then UID.

    Raises:
        ImageError: if a file is damaged, or a folder may not be read.
    """
    with quiet():
        return [_info(number, each, path) for number, each in enumerate(find_series(path), 1)]


def find_series(path: Path) -> list[Series]:
    """The series of a path with their planes; to be called within `quiet`.

    Raises:
        ImageError: as `list_series`.
    """
    by_series: dict[tuple[str, bool], list[Header]] = defaultdict(list)
    for file in dicom_files(path):
        header = read_header(file)
        by_series[header.series, header.is_scan].append(header)
    found = [series for headers in by_series.values() for series in _series(headers)]
    return sorted(found, key=lambda each: (_first(each.headers[0].series_number), each.uid))


def _first(number: int | None) -> float:
    return float("inf") if number is None else number


def _series(headers: Sequence[Header]) -> list[Series]:
    if not headers[0].is_scan:
        return [Series((header,), Part(())) for header in headers]
    parts = split(frames_of(headers))
    return [Series(_headers_of(part.frames), part) for part in parts]


def _headers_of(frames: Sequence[Frame]) -> tuple[Header, ...]:
    return tuple({id(frame.header): frame.header for frame in frames}.values())


def _info(number: int, series: Series, path: Path) -> SeriesInfo:
    geometry = _geometry(series, path)
    return SeriesInfo(
        number=number,
        uid=series.uid,
        description=series.description,
        modality=series.headers[0].modality,
        size=geometry.shape if geometry else series.size,
        spacing=_rounded(geometry.spacing) if geometry else None,
        files=tuple(header.file for header in series.headers),
        kind=series.kind,
    )


def _geometry(series: Series, path: Path) -> Geometry | None:
    frames = series.part.frames
    if not frames:
        return None
    try:
        if is_mosaic(frames[0].header) and (mosaic := mosaic_of(frames[0])):
            return mosaic.geometry
        return stack(frames, path).geometry
    except ImageError:
        return None


def _rounded(spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    i, j, k = (round(length, 6) for length in spacing)
    return i, j, k
