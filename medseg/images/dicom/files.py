"""Which files are DICOM, and which of them a path stands for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pydicom

from medseg.errors import ImageError
from medseg.images.dicom.quiet import quiet
from medseg.images.dicom.sop_class import OF_DICOM, sop_class_of

_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR
_MOST_OF_META = 1024  # bytes that hold the class of a file; it is the second element
_VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OF OW PN SH SL SQ SS ST TM UI UL UN US UT".split()
_LONGEST_FIRST = 1024  # bytes; the first element of a file is short


def is_dicom(path: Path) -> bool:
    """Whether a file's content is DICOM: `DICM` after 128 bytes (PS3.10 section 7.1), or a bare data set.

    A bare data set, as written before 1993 and by some scanners still, begins with an element of group
    0008 (or 0002) and names a class of DICOM. A text file named `.dcm` is none.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
    except (OSError, ValueError):
        return False
    return head[128:] == b"DICM" or (_begins_as_bare(head) and sop_class_of(path).startswith(OF_DICOM))


def has_class(path: Path, sop_classes: tuple[str, ...]) -> bool:
    """Whether a file is DICOM of one of these classes (SOPClassUID); False for whatever cannot be read."""
    return is_dicom(path) and sop_class_of(path) in sop_classes


def dicom_files(path: Path) -> list[Path]:
    """The DICOM files that a path stands for, sorted by path.

    Args:
        path: a file, a folder (with its subfolders; hidden and foreign files are ignored), or a DICOMDIR.

    Raises:
        ImageError: if a folder may not be read, or a DICOMDIR is damaged or refers to a file that is not there.
    """
    if not path.is_dir():
        if not is_dicom(path):
            return []
        return _listed_in(path) if _is_directory(path) else [path]
    files = sorted(_walk(path, {path.resolve()}))
    for each in files:  # not left out: it may be a slice
        if not os.access(each, os.R_OK):
            raise ImageError(f"{each}: may not be read; ask its owner for permission")
    return [each for each in files if is_dicom(each) and not _is_directory(each)]


def impostors(path: Path) -> list[Path]:
    """The files of a folder that are named `.dcm` and are no DICOM files, sorted: failed copies, most often."""
    if not path.is_dir():
        return []
    return [each for each in sorted(_walk(path, {path.resolve()})) if each.suffix == ".dcm" and not is_dicom(each)]


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Every file below a folder that is not hidden; links are followed once."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read ({error.strerror}); ask its owner for permission") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is(entry, "is_file"):
            yield Path(entry.path)
        elif _is(entry, "is_dir"):
            target = Path(entry.path).resolve()
            if target not in seen:
                seen.add(target)
                yield from _walk(Path(entry.path), seen)


def _is(entry: os.DirEntry[str], question: str) -> bool:
    try:
        return bool(getattr(entry, question)())
    except OSError:  # a loop of links is neither file nor folder
        return False


def _begins_as_bare(head: bytes) -> bool:
    if len(head) < 12 or head[:2] not in (b"\x08\0", b"\0\x08", b"\x02\0"):
        return False
    return head[4:6] in _VRS or int.from_bytes(head[4:8], "little") <= _LONGEST_FIRST


def _is_directory(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return _DIRECTORY.encode() in stream.read(_MOST_OF_META)[132:]
    except OSError:
        return False


def _listed_in(dicomdir: Path) -> list[Path]:
    """The files that a DICOMDIR refers to (PS3.3 annex F); its identifiers are paths in upper case."""
    try:
        with quiet():
            records = pydicom.dcmread(dicomdir).DirectoryRecordSequence
            names = [record.get("ReferencedFileID") for record in records]
            parts = [[name] if isinstance(name, str) else [str(part) for part in name] for name in names if name]
    except Exception as error:
        raise ImageError(f"{dicomdir}: a damaged DICOMDIR; name the folder of its images instead") from error
    return sorted({file for each in parts if is_dicom(file := _existing(dicomdir, each))})


def _existing(dicomdir: Path, parts: list[str]) -> Path:
    if ".." not in parts:
        for named in (parts, [part.lower() for part in parts]):  # copied from a CD, names may have lost their case
            file = dicomdir.parent.joinpath(*named)
            if file.is_file():
                return file
    raise ImageError(f"{dicomdir}: refers to {'/'.join(parts)}, which is not there; copy the whole medium again")
