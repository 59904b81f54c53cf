"""NRRD (.nrrd, .nhdr, 3D Slicer's .seg.nrrd) and MetaImage (.mha, .mhd), read and written by SimpleITK."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ImageError, OutputError
from medseg.files import replacing
from medseg.images.geometry import LPS_TO_RAS, Geometry
from medseg.images.image import Image
from medseg.images.itk_header import META_IMAGE, NRRD, TextHeader, check_voxels, format_of, read_header
from medseg.images.values import count_rounded, float32, storable
from medseg.types import LabelClass

_ONE_AT_A_TIME = Lock()
if hasattr(os, "register_at_fork"):  # a child must not begin while stderr leads nowhere, nor with a lock that is held
    os.register_at_fork(
        before=_ONE_AT_A_TIME.acquire, after_in_parent=_ONE_AT_A_TIME.release, after_in_child=_ONE_AT_A_TIME.release
    )
_IO = {NRRD: "NrrdImageIO", META_IMAGE: "MetaImageIO"}
_SPACES = re.compile(r"(left|right)-(anterior|posterior)-superior(-time)?|[LR][AP]ST?", re.IGNORECASE)
_UNITS_MM = {"mm": 1.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "microns": 1e-3, "cm": 10.0, "m": 1000.0}


def is_itk(path: Path) -> bool:
    """Whether a file starts as an NRRD or MetaImage header."""
    try:
        with path.open("rb") as stream:
            return format_of(stream.read(4096)) is not None
    except OSError:
        return False


def read_itk(path: Path) -> Image:
    """Read an NRRD or MetaImage file; positions come from ITK in LPS+ mm and leave in RAS+ mm.

    Colours, vectors and the fourth of four axes are the channel. The segments of a `.seg.nrrd` become classes;
    where they overlap, which it holds as layers, one channel of 0 and 1 for each, in the order of the classes.

    Raises:
        ImageError: if SimpleITK is not installed; if the file is truncated, damaged, complex or of other axes,
            says that its world is neither RAS, LAS nor LPS, or names voxels that are missing or outside its folder.
    """
    header = read_header(path)
    check_voxels(header)
    reader = _reader(path, header)
    geometry, warnings = _geometry(reader, header, path)
    try:
        with _silent(header):
            image = reader.Execute()
    except RuntimeError as error:
        raise ImageError(f"{path}: truncated or damaged ({_reason(error)}); fetch or convert it again") from error
    stored, spatial_dims = _voxels(image, path)
    array: NDArray[Any] = float32(stored) if stored.dtype.kind == "f" else stored
    rounded = count_rounded(stored, array)
    try:
        array, classes = _segments(array, header)
    except ValueError as error:
        raise ImageError(f"{path}: a number of a segment cannot be read ({error}); mend its header") from error
    return Image(
        array=array,
        geometry=geometry,
        path=path,
        format=header.format,
        files=header.files,
        spatial_dims=spatial_dims,
        classes=classes,
        rounded=rounded,
        warnings=warnings,
    )


def read_itk_geometry(path: Path) -> Geometry:
    """The grid of an NRRD or MetaImage file, from its header.

    Raises:
        ImageError: as `read_itk`, for what the header tells.
    """
    header = read_header(path)
    return _geometry(_reader(path, header), header, path)[0]


def write_itk(path: Path | str, array: NDArray[Any], geometry: Geometry) -> None:
    """Write voxels `(i, j, k[, channel])` on this grid, compressed, as NRRD or MetaImage by the suffix.

    Raises:
        OutputError: if SimpleITK is not installed, or the file cannot be written.
    """
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise OutputError(f"{path}: is written by SimpleITK: pip install SimpleITK") from error
    image = sitk.GetImageFromArray(np.moveaxis(storable(array), (0, 1, 2), (2, 1, 0)), isVector=array.ndim == 4)
    affine = LPS_TO_RAS @ geometry.affine
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetSpacing(geometry.spacing)
    image.SetDirection((affine[:3, :3] / np.array(geometry.spacing)).ravel().tolist())
    with replacing(path) as beside:
        try:
            sitk.WriteImage(image, str(beside), useCompression=True)
        except RuntimeError as error:
            raise OutputError(f"{path}: cannot be written ({_reason(error)}); choose another place") from error


@contextmanager
def _silent(header: TextHeader) -> Iterator[None]:
    """Nothing on stderr within, of no thread: ITK's MetaIO writes there what is an error of ours already."""
    if header.format != META_IMAGE:
        yield
        return
    with _ONE_AT_A_TIME, Path(os.devnull).open("wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _reader(path: Path, header: TextHeader) -> Any:
    """SimpleITK's reader with the header read; the format is told, for ITK would go by the suffix."""
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise ImageError(f"{path}: {header.format} is read by SimpleITK: pip install SimpleITK") from error
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # else C++ writes lines of its own to stderr
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_IO[header.format])
    reader.SetFileName(str(path))
    try:
        with _silent(header):
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise ImageError(f"{path}: damaged header ({_reason(error)}); fetch or convert it again") from error
    return reader


def _geometry(reader: Any, header: TextHeader, path: Path) -> tuple[Geometry, tuple[str, ...]]:
    dims = reader.GetDimension()
    if dims not in (2, 3, 4):
        raise ImageError(f"{path}: has {dims} axes; expected 2, 3, or 4 with channels last: split it first")
    world, warnings = _world(header, path)
    used = min(dims, 3)
    direction = np.array(reader.GetDirection()).reshape(dims, dims)[:used, :used]
    lps = np.eye(4)
    lps[:used, :used] = direction * reader.GetSpacing()[:used]
    lps[:used, 3] = reader.GetOrigin()[:used]
    lps[:3] *= world
    shape = (*reader.GetSize()[:used], 1)[:3]
    try:
        return Geometry((shape[0], shape[1], shape[2]), LPS_TO_RAS @ lps), warnings
    except ValueError as error:
        raise ImageError(f"{path}: {error}; mend its origin, spacing and directions") from error


def _world(header: TextHeader, path: Path) -> tuple[float, tuple[str, ...]]:
    """Millimetres in one unit of length of the file, and what is missing of its place."""
    fields = header.fields
    if header.format == META_IMAGE:
        given = any(key in fields for key in ("transformmatrix", "orientation", "rotation"))
        return 1.0, (() if given else ("no TransformMatrix: taken to lie along the axes, i to the left",))
    space = fields.get("space")
    if space is None:
        return 1.0, ("no 'space' says how it lies in the patient: taken to lie along the axes, i to the left",)
    if not _SPACES.fullmatch(space):
        raise ImageError(f"{path}: its world is '{space}', which tells no side of a patient; expected RAS, LAS or LPS")
    units = {unit.lower() for unit in re.findall(r'"([^"]*)"', fields.get("space units", "")) if unit}
    if not units or units == {"mm"}:
        return 1.0, ()
    if len(units) > 1 or not units <= _UNITS_MM.keys():
        raise ImageError(f"{path}: its lengths are in {', '.join(sorted(units))}; expected mm, cm, m or um")
    unit = units.pop()
    return _UNITS_MM[unit], (f"lengths are in {unit} and were converted to mm",)


def _voxels(image: Any, path: Path) -> tuple[NDArray[Any], int]:
    """Voxels `(i, j, k[, channel])` and 2 or 3 dimensions."""
    import SimpleITK as sitk

    if "complex" in image.GetPixelIDTypeAsString():
        raise ImageError(f"{path}: holds complex numbers; write magnitude and phase as two files")
    dims, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if dims == 4 and components > 1:
        raise ImageError(f"{path}: four axes of {components} values each; split it first")
    array = sitk.GetArrayFromImage(image)  # (t, k, j, i, component), those that there are
    array = np.moveaxis(array, range(dims), range(dims - 1, -1, -1))
    if components == 1 and array.ndim > dims:
        array = array[..., 0]
    if dims == 2:
        array = np.expand_dims(array, 2)
    if dims == 4 and array.shape[3] == 1:
        array = array[..., 0]
    return array, min(dims, 3)


def _segments(array: NDArray[Any], header: TextHeader) -> tuple[NDArray[Any], tuple[LabelClass, ...]]:
    """The classes of a segmentation of 3D Slicer; its layers become a channel for each segment."""
    numbers = sorted(int(key[7:-5]) for key in header.fields if re.fullmatch(r"segment\d+_name", key))
    if not numbers or array.dtype.kind not in "iu":
        return array, ()
    segments = [_segment(header.fields, f"segment{number}_") for number in numbers]
    if array.ndim == 3:
        return array, tuple(each for each, _ in segments)
    array = np.stack([array[..., min(layer, array.shape[3] - 1)] == each.value for each, layer in segments], axis=-1)
    return array.astype(np.uint8), tuple(replace(each, value=n) for n, (each, _) in enumerate(segments, 1))


def _segment(fields: dict[str, str], key: str) -> tuple[LabelClass, int]:
    """A segment and the layer it is in."""
    value, layer = (int(fields.get(key + name, default)) for name, default in (("labelvalue", "1"), ("layer", "0")))
    colour = [round(float(part) * 255) for part in fields.get(key + "color", "").split()]
    known = (colour[0], colour[1], colour[2]) if len(colour) == 3 else None
    return LabelClass(value, fields[key + "name"], known), layer


def _reason(error: BaseException) -> str:
    """The last of ITK's many lines, which says what was wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:150] if lines else type(error).__name__
