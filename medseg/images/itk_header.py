"""The text headers of NRRD and MetaImage files, checked before ITK reads their voxels."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import ImageError

NRRD, META_IMAGE = "NRRD", "MetaImage"
_LONGEST = 1 << 20
_MOST_DEFLATED = 1032  # the best that deflate can do: bytes out of one byte
_CHUNK = 1 << 20
_IN_LETTERS = ("ascii", "text", "txt", "hex")  # encodings of NRRD
_BYTES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "float"), 4),
    **dict.fromkeys(("longlong", "ulonglong", "int64", "uint64", "double"), 8),
}
_META_BYTES = {"char": 1, "short": 2, "int": 4, "long": 4, "float": 4, "double": 8, "longlong": 8}


@dataclass(frozen=True)
class TextHeader:
    """A header as it stands in the file.

    Attributes:
        format: NRRD or MetaImage.
        fields: keys in lower case.
        size: its bytes, up to the voxels if these follow.
        files: the header's file, and those of the voxels where they stand apart and could be told.
    """

    format: str
    fields: dict[str, str]
    size: int
    files: tuple[Path, ...]


def format_of(start: bytes) -> str | None:
    """NRRD, MetaImage or None, from the start of a file."""
    if start.startswith(b"NRRD000"):
        return NRRD
    is_meta = re.match(rb"\s*(ObjectType|Comment|NDims)\s*=", start) and re.search(rb"(?m)^\s*NDims\s*=", start)
    return META_IMAGE if is_meta else None


def read_header(path: Path) -> TextHeader:
    """Read and check a header.

    Raises:
        ImageError: if it is damaged, its voxels are missing or too few, or lie outside its folder.
    """
    with path.open("rb") as stream:
        start = stream.read(_LONGEST)
    kind = format_of(start)
    if kind is None:
        raise ImageError(f"{path}: neither NRRD nor MetaImage")
    fields, size = _nrrd_fields(start) if kind == NRRD else _meta_fields(start)
    data = fields.get("data file", fields.get("datafile")) if kind == NRRD else fields.get("elementdatafile")
    if kind == META_IMAGE and data is None:
        raise ImageError(f"{path}: damaged header: no ElementDataFile; fetch or convert it again")
    listed = re.split(rb"(?im)^\s*(?:data ?file:|ElementDataFile\s*=)\s*LIST[^\n]*\n", start)[1:]
    names = b"".join(listed).decode("utf-8", "replace").split("\n") if listed else [data or "LOCAL"]
    files = (path, *_data_files([name.strip() for name in names if name.strip()], path))
    header = TextHeader(kind, fields, size, files)
    _check_size(header)
    return header


def check_voxels(header: TextHeader) -> None:
    """Inflate deflated voxels, to see their sum and end: ITK reads wrong ones, and too few, without a word.

    Raises:
        ImageError: if they are damaged or too few.
    """
    if not _is_compressed(header):
        return
    path, *apart = header.files
    for data in apart or [path]:
        _check_deflated(data, 0 if apart else header.size, path)


def _nrrd_fields(start: bytes) -> tuple[dict[str, str], int]:
    end = re.search(rb"\r?\n\r?\n", start)
    size = end.end() if end else len(start)
    fields = {}
    for line in start[:size].decode("utf-8", "replace").splitlines()[1:]:
        key, sign, value = line.partition(":")
        if sign and not line.startswith("#"):
            fields[key.strip().lower()] = value.removeprefix("=").strip()
    return fields, size


def _meta_fields(start: bytes) -> tuple[dict[str, str], int]:
    end = re.search(rb"(?m)^\s*ElementDataFile\s*=[^\n]*(\n|\Z)", start)
    size = end.end() if end else len(start)
    fields = {}
    for line in start[:size].decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        fields[key.strip().lower()] = value.strip()
    return fields, size


def _data_files(names: list[str], path: Path) -> list[Path]:
    """The files of voxels that a header names; none where they follow it."""
    if [name.upper() for name in names] == ["LOCAL"]:
        return []
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ImageError(f"{path}: its voxels are said to be in '{name}', outside its folder; put them beside it")
        if "%" in name:
            raise ImageError(f"{path}: names the files of its voxels by a pattern, '{name}'; convert it to one file")
        if not (path.parent / name).is_file():
            raise ImageError(f"{path}: its voxels are missing: no file '{name}' beside it; fetch that too")
    return [path.parent / name for name in names]


def _is_compressed(header: TextHeader) -> bool:
    if header.format == NRRD:
        return header.fields.get("encoding", "raw").lower() not in ("raw", *_IN_LETTERS)
    return header.fields.get("compresseddata", "").lower() == "true"


def _expected(header: TextHeader) -> int | None:
    """Bytes of voxels; None where the type is unknown here."""
    fields = header.fields
    try:
        if header.format == NRRD:
            kind = re.sub(r"unsigned\s+", "u", fields["type"].lower())
            kind = re.sub(r"signed\s+|\s+int$|_t$", "", kind).replace("long long", "longlong").replace(" ", "")
            shape = [int(length) for length in fields["sizes"].split()]
            each = _BYTES.get(kind)
        else:
            kind = fields["elementtype"].upper().removeprefix("MET_").removesuffix("_ARRAY").lower()
            kind = kind.replace("_", "")
            shape = [int(length) for length in fields["dimsize"].split()]
            shape.append(int(fields.get("elementnumberofchannels", "1")))
            each = _META_BYTES.get(kind) or _META_BYTES.get(kind.removeprefix("u"))
    except (KeyError, ValueError):
        raise ImageError(
            f"{header.files[0]}: damaged header: no sizes or type of its voxels; fetch or convert it again"
        ) from None
    if not shape or min(shape) < 1:
        raise ImageError(
            f"{header.files[0]}: damaged header: axes of lengths {tuple(shape)}; fetch or convert it again"
        )
    return None if each is None else math.prod(shape) * each


def _check_size(header: TextHeader) -> None:
    expected = _expected(header)
    if header.fields.get("encoding", "raw").lower() in _IN_LETTERS:
        return
    path, *apart = header.files
    skipped = 0 if apart else header.size
    there = sum(each.stat().st_size for each in apart or [path]) - skipped
    if expected is not None and (there * _MOST_DEFLATED if _is_compressed(header) else there) < expected:
        raise ImageError(
            f"{path}: truncated: its header tells of {expected} bytes of voxels, {there} are there; "
            "fetch or convert it again"
        )


def _check_deflated(data: Path, skipped: int, path: Path) -> None:
    with data.open("rb") as stream:
        stream.seek(skipped)
        start = stream.read(2)
        stream.seek(skipped)
        if start[:2] == b"\x1f\x8b":
            reader = gzip.GzipFile(fileobj=stream)
            try:
                while reader.read(_CHUNK):
                    pass
            except (OSError, EOFError, zlib.error) as error:
                raise ImageError(f"{path}: truncated or damaged ({error}); fetch or convert it again") from error
            return
        if start[:1] != b"\x78":
            return
        inflate = zlib.decompressobj()
        try:
            while not inflate.eof:
                chunk = stream.read(_CHUNK)
                if not chunk:
                    raise ImageError(f"{path}: truncated: its voxels end early; fetch or convert it again")
                inflate.decompress(chunk)
        except zlib.error as error:
            raise ImageError(f"{path}: damaged voxels ({error}); fetch or convert it again") from error
