"""Bad and odd inputs, each made in a folder by a small function; `docs/odd_inputs.md` says what medseg says of each.

`python tests/images/odd_inputs.py > docs/odd_inputs.md` writes that table anew; `test_odd_inputs.py` holds it to
what happens.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from medseg.errors import ImageError
from medseg.images import (
    Geometry,
    Image,
    find_images,
    read_image,
    read_label,
    write_dicom_seg,
    write_dicom_series,
    write_volume,
)
from medseg.types import LabelClass

AFFINE = np.array([[-2.0, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
GRID = Geometry((6, 5, 4), AFFINE)
VOXELS = np.arange(120).reshape(6, 5, 4).astype(np.int16)
GREY = np.arange(48).reshape(6, 8).astype(np.uint8) * 5  # row, column
NAMES = {b"To": "a text", b"%P": "a PDF", b"im": "Python"}


@dataclass(frozen=True)
class Input:
    """A path to read, and what must come out of it where it is read.

    Attributes:
        array: the voxels; None where it must be refused.
        label_of: the grid to read it on as a label.
        find: whether to look for the images of a folder rather than to read one.
    """

    path: Path | str
    array: NDArray[Any] | None = None
    label_of: Geometry | None = None
    find: bool = False


@dataclass(frozen=True)
class Odd:
    """An odd input: the group and words of its row in the table, and what makes it in a folder."""

    group: str
    words: str
    make: Callable[[Path], Input]


ODD: list[Odd] = []


def odd(group: str, words: str) -> Callable[[Callable[[Path], Input]], Callable[[Path], Input]]:
    """Enter what a function makes into the table."""

    def enter(make: Callable[[Path], Input]) -> Callable[[Path], Input]:
        ODD.append(Odd(group, words, make))
        return make

    return enter


def outcome(made: Input, folder: Path) -> str:
    """What medseg says of an input, the folder's name left out; "read", and the warnings, where it reads it.

    Raises:
        AssertionError: if what it reads is not what must come out.
    """
    try:
        read = _read(made)
    except ImageError as error:
        assert made.array is None, error
        return str(error).replace(f"{folder}/", "").replace(str(folder), ".").replace("\n", "\\n")
    if read is None:
        return "read"
    assert made.array is not None, f"{made.path} must be refused"
    np.testing.assert_array_equal(read.array, made.array)
    assert read.array.shape[:3] == read.geometry.shape
    return "; ".join(["read", *(f"warning: {each}" for each in read.warnings)])


def _read(made: Input) -> Image | None:
    if made.find:
        find_images(made.path)
        return None
    return read_image(made.path) if made.label_of is None else read_label(made.path, grid=made.label_of)


def table() -> Iterator[str]:
    """The lines of the document."""
    yield from (
        "# Bad and odd inputs",
        "",
        "What medseg says of each; `FILE: what is wrong; what to do`, on one line, and exit status 1. What is odd and",
        "right is read, with a warning where a user should know. Made and tested by `tests/images/odd_inputs.py`.",
    )
    group = ""
    for each in ODD:
        if each.group != group:
            group = each.group
            yield from ("", f"## {group}", "", "| Input | medseg says |", "|---|---|")
        with tempfile.TemporaryDirectory() as folder:
            said = outcome(each.make(Path(folder)), Path(folder))
        yield f"| {each.words} | {said.replace('|', chr(92) + '|')} |"


# Makers that several inputs share


def nifti(folder: Path, name: str = "a.nii", array: NDArray[Any] = VOXELS, **fields: Any) -> Path:
    """A sound NIfTI file whose header fields are then set."""
    image = nib.Nifti1Image(array, AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    content = bytearray(image.to_bytes())
    header = nib.Nifti1Header.from_fileobj(_stream(bytes(content[:348])), check=False)
    for field, value in fields.items():
        header[field] = value
    content[:348] = header.binaryblock
    path = folder / name
    path.write_bytes(gzip.compress(bytes(content)) if name.endswith(".gz") else bytes(content))
    return path


def _stream(content: bytes) -> Any:
    import io

    return io.BytesIO(content)


def series(folder: Path, name: str = "series", modality: str = "CT", grid: Geometry = GRID, seed: str = "a") -> Path:
    """A sound DICOM series of `VOXELS`."""
    write_dicom_series(folder / name, VOXELS[:, :, : grid.shape[2]], grid, modality=modality, seed=seed)
    return folder / name


def edited(folder: Path, edit: Callable[[Any, int], object], **options: Any) -> Path:
    """A series whose slices were changed by `edit(dataset, k)`."""
    place = series(folder, **options)
    for k, file in enumerate(sorted(place.iterdir())):
        dataset = pydicom.dcmread(file)
        edit(dataset, k)
        dataset.save_as(file)
    return place


def without(keyword: str) -> Callable[[Path], Input]:
    def make(folder: Path) -> Input:
        return Input(edited(folder, lambda dataset, k: delattr(dataset, keyword)))

    return make


def setting(keyword: str, value: Any, only: int | None = None) -> Callable[[Path], Input]:
    def make(folder: Path) -> Input:
        def edit(dataset: Any, k: int) -> None:
            if only is None or k == only:
                setattr(dataset, keyword, value)

        return Input(edited(folder, edit))

    return make


def cut(path: Path, keep: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def picture(folder: Path, name: str, array: NDArray[Any] = GREY, **options: Any) -> Path:
    Picture.fromarray(array).save(folder / name, **options)
    return folder / name


def as_read(array: NDArray[Any]) -> NDArray[Any]:
    """Pixels `(row, column[, channel])` as `(i, j, k[, channel])`."""
    return np.swapaxes(array, 0, 1)[:, :, None]


# Files of any kind


@odd("Any file", "nothing there")
def _(folder: Path) -> Input:
    return Input(folder / "a.nii.gz")


@odd("Any file", "0 bytes")
def _(folder: Path) -> Input:
    (folder / "a.nii.gz").touch()
    return Input(folder / "a.nii.gz")


for suffix, content in {
    "nii.gz": b"To be, or not to be",
    "dcm": b"To be, or not to be",
    "png": b"%PDF-1.7 \n" + bytes(300),
    "nrrd": b"import numpy as np\n" * 20,
}.items():

    @odd("Any file", f"{NAMES[content[:2]]} named .{suffix}")
    def _(folder: Path, suffix: str = suffix, content: bytes = content) -> Input:
        (folder / f"a.{suffix}").write_bytes(content)
        return Input(folder / f"a.{suffix}")


@odd("Any file", "a zip file")
def _(folder: Path) -> Input:
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("a", "a")
    return Input(folder / "a.zip")


@odd("Any file", "a gzipped text named .nii.gz")
def _(folder: Path) -> Input:
    (folder / "a.nii.gz").write_bytes(gzip.compress(b"To be, or not to be" * 50))
    return Input(folder / "a.nii.gz")


@odd("Any file", "NIfTI named .dcm")
def _(folder: Path) -> Input:
    return Input(nifti(folder).rename(folder / "a.dcm"), VOXELS)


@odd("Any file", "gzipped NIfTI named .nii")
def _(folder: Path) -> Input:
    return Input(nifti(folder, "a.nii.gz").rename(folder / "a.nii"), VOXELS)


@odd("Any file", "DICOM named .nii.gz")
def _(folder: Path) -> Input:
    place = series(folder, grid=Geometry((6, 5, 1), AFFINE))
    return Input((place / "001.dcm").rename(folder / "a.nii.gz"), VOXELS[:, :, :1])


@odd("Any file", "PNG named .nii")
def _(folder: Path) -> Input:
    return Input(picture(folder, "a.png").rename(folder / "a.nii"), as_read(GREY))


@odd("Any file", "MetaImage named .png")
def _(folder: Path) -> Input:
    write_volume(folder / "a.mha", VOXELS, GRID)
    return Input((folder / "a.mha").rename(folder / "a.png"), VOXELS)


@odd("Any file", "a link to itself")
def _(folder: Path) -> Input:
    (folder / "a.nii").symlink_to(folder / "a.nii")
    return Input(folder / "a.nii")


@odd("Any file", "a link to nothing")
def _(folder: Path) -> Input:
    (folder / "a.nii").symlink_to(folder / "b.nii")
    return Input(folder / "a.nii")


@odd("Any file", "a named pipe that nobody writes to")
def _(folder: Path) -> Input:
    os.mkfifo(folder / "a.nii")
    return Input(folder / "a.nii")


@odd("Any file", "a name of 300 letters")
def _(folder: Path) -> Input:
    return Input(folder / f"{'x' * 20}{'y' * 280}.nii")


for words, name in {
    "blanks in the name": "a b.nii",
    "letters beyond ASCII in the name": "Schädel Ω 頭.nii",
    "`::` in the name": "a::2.nii",
    "`#`, `@` and `$` in the name": "@a#$.nii",
    "a line break in the name": "a\nb.nii",
}.items():

    @odd("Any file", words)
    def _(folder: Path, name: str = name) -> Input:
        return Input(nifti(folder).rename(folder / name), VOXELS)


@odd("Any file", "a line break in the name of a broken file")
def _(folder: Path) -> Input:
    (folder / "a\nb.nii").write_text("no image")
    return Input(folder / "a\nb.nii")


# Folders


@odd("Folders", "empty")
def _(folder: Path) -> Input:
    return Input(folder, find=True)


@odd("Folders", "only hidden files")
def _(folder: Path) -> Input:
    nifti(folder, ".a.nii")
    return Input(folder, find=True)


@odd("Folders", "one case as .nii and .nii.gz")
def _(folder: Path) -> Input:
    nifti(folder, "a.nii")
    nifti(folder, "a.nii.gz")
    return Input(folder, find=True)


@odd("Folders", "two names that differ by case only")
def _(folder: Path) -> Input:
    nifti(folder, "a.nii")
    nifti(folder, "A.nii.gz")
    return Input(folder, find=True)


@odd("Folders", "foreign and hidden files among the slices")
def _(folder: Path) -> Input:
    place = series(folder)
    (place / "readme.txt").write_text("no image")
    (place / ".DS_Store").write_bytes(b"x")
    return Input(place, VOXELS)


@odd("Folders", "a failed copy among the slices")
def _(folder: Path) -> Input:
    place = series(folder)
    (place / "005.dcm").write_bytes(b"")
    return Input(place, VOXELS)


@odd("Folders", "the slices in folders of folders")
def _(folder: Path) -> Input:
    place = series(folder)
    for k, file in enumerate(sorted(place.iterdir())):
        target = folder / "disk" / f"part{k % 2}" / "images"
        target.mkdir(parents=True, exist_ok=True)
        file.rename(target / file.name)
    return Input(folder / "disk", VOXELS)


@odd("Folders", "a folder that links to itself")
def _(folder: Path) -> Input:
    place = series(folder)
    (place / "again").symlink_to(place, target_is_directory=True)
    return Input(place, VOXELS)


# NIfTI


@odd("NIfTI", "cut short")
def _(folder: Path) -> Input:
    return Input(cut(nifti(folder), 0.9))


@odd("NIfTI", "gzipped and cut short")
def _(folder: Path) -> Input:
    return Input(cut(nifti(folder, "a.nii.gz", np.random.default_rng(0).integers(0, 999, (6, 5, 4), np.int16)), 0.7))


@odd("NIfTI", "gzipped, with a byte changed")
def _(folder: Path) -> Input:
    path = nifti(folder, "a.nii.gz", np.random.default_rng(0).integers(0, 999, (6, 5, 4), np.int16))
    content = bytearray(path.read_bytes())
    content[-20] ^= 255
    path.write_bytes(bytes(content))
    return Input(path)


@odd("NIfTI", "nothing but the header")
def _(folder: Path) -> Input:
    path = nifti(folder)
    path.write_bytes(path.read_bytes()[:348])
    return Input(path)


@odd("NIfTI", "a header of 30000 x 30000 x 30000 voxels")
def _(folder: Path) -> Input:
    return Input(nifti(folder, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]))


@odd("NIfTI", "a negative length")
def _(folder: Path) -> Input:
    return Input(nifti(folder, dim=[3, 6, -5, 4, 1, 1, 1, 1]))


@odd("NIfTI", "a length of 0")
def _(folder: Path) -> Input:
    return Input(nifti(folder, dim=[3, 6, 0, 4, 1, 1, 1, 1]))


@odd("NIfTI", "an unknown data type")
def _(folder: Path) -> Input:
    return Input(nifti(folder, datatype=999))


@odd("NIfTI", "bytes behind its end")
def _(folder: Path) -> Input:
    path = nifti(folder)
    path.write_bytes(path.read_bytes() + b"junk")
    return Input(path, VOXELS)


@odd("NIfTI", "NaN")
def _(folder: Path) -> Input:
    array = VOXELS.astype(np.float32)
    array[0, 0, :2] = np.nan
    return Input(nifti(folder, array=array))


@odd("NIfTI", "infinity")
def _(folder: Path) -> Input:
    array = VOXELS.astype(np.float32)
    array[0, 0, 0] = -np.inf
    return Input(nifti(folder, array=array))


@odd("NIfTI", "complex numbers")
def _(folder: Path) -> Input:
    return Input(nifti(folder, array=VOXELS.astype(np.complex64)))


@odd("NIfTI", "RGB24")
def _(folder: Path) -> Input:
    rgb = np.zeros((6, 5, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = VOXELS
    return Input(nifti(folder, array=rgb), np.stack([rgb[each] for each in "RGB"], axis=3))


@odd("NIfTI", "four axes")
def _(folder: Path) -> Input:
    array = np.stack([VOXELS, VOXELS + 1], axis=3)
    return Input(nifti(folder, array=array), array)


@odd("NIfTI", "time points")
def _(folder: Path) -> Input:
    array = np.stack([VOXELS, VOXELS + 1], axis=3)
    return Input(nifti(folder, array=array, xyzt_units=10, pixdim=[1, 2, 2, 3, 2, 1, 1, 1]), array)


@odd("NIfTI", "five axes")
def _(folder: Path) -> Input:
    return Input(nifti(folder, array=np.zeros((6, 5, 4, 2, 3), np.int16)))


@odd("NIfTI", "one axis")
def _(folder: Path) -> Input:
    return Input(nifti(folder, array=np.zeros(6, np.int16)))


@odd("NIfTI", "neither sform nor qform")
def _(folder: Path) -> Input:
    return Input(nifti(folder, sform_code=0, qform_code=0))


@odd("NIfTI", "sform and qform that differ")
def _(folder: Path) -> Input:
    return Input(nifti(folder, srow_x=[2, 0, 0, 10]))


@odd("NIfTI", "a flat sform")
def _(folder: Path) -> Input:
    return Input(nifti(folder, srow_z=[0, 0, 0, 0], qform_code=0))


@odd("NIfTI", "NaN in the sform")
def _(folder: Path) -> Input:
    return Input(nifti(folder, srow_z=[0, 0, np.nan, 0], qform_code=0))


@odd("NIfTI", "spacing 0 and no sform")
def _(folder: Path) -> Input:
    return Input(nifti(folder, pixdim=[1, 0, 2, 3, 0, 0, 0, 0], sform_code=0))


@odd("NIfTI", "big-endian")
def _(folder: Path) -> Input:
    image = nib.Nifti1Image(VOXELS, AFFINE, nib.Nifti1Header(endianness=">"))
    image.set_sform(AFFINE, 1)
    (folder / "a.nii").write_bytes(image.to_bytes())
    return Input(folder / "a.nii", VOXELS)


@odd("NIfTI", "NIfTI-2")
def _(folder: Path) -> Input:
    image = nib.Nifti2Image(VOXELS, AFFINE)
    image.set_sform(AFFINE, 1)
    (folder / "a.nii").write_bytes(image.to_bytes())
    return Input(folder / "a.nii", VOXELS)


@odd("NIfTI", "micrometres")
def _(folder: Path) -> Input:
    return Input(nifti(folder, xyzt_units=3), VOXELS)


@odd("NIfTI", "scl_slope 0")
def _(folder: Path) -> Input:
    return Input(nifti(folder, scl_slope=0, scl_inter=7), VOXELS)


@odd("NIfTI", ".hdr without its .img")
def _(folder: Path) -> Input:
    image = nib.Nifti1Pair(VOXELS, AFFINE)
    image.set_sform(AFFINE, 1)
    nib.save(image, folder / "a.hdr")
    (folder / "a.img").unlink()
    return Input(folder / "a.hdr")


@odd("NIfTI", ".img without its .hdr")
def _(folder: Path) -> Input:
    nib.save(nib.Nifti1Pair(VOXELS, AFFINE), folder / "a.hdr")
    (folder / "a.hdr").unlink()
    return Input(folder / "a.img")


@odd("NIfTI", "Analyze 7.5")
def _(folder: Path) -> Input:
    nib.save(nib.AnalyzeImage(VOXELS, None), folder / "a.hdr")
    return Input(folder / "a.hdr")


# Labels


@odd("Labels", "another size than its image")
def _(folder: Path) -> Input:
    return Input(nifti(folder, array=np.zeros((6, 5, 5), np.uint8)), label_of=GRID)


@odd("Labels", "moved by 1 mm against its image")
def _(folder: Path) -> Input:
    return Input(nifti(folder, srow_x=[-2, 0, 0, 11], qform_code=0), label_of=GRID)


@odd("Labels", "axes in another order than its image")
def _(folder: Path) -> Input:
    write_volume(folder / "a.nii", VOXELS[::-1], Geometry(GRID.shape, np.array([[2.0, 0, 0, 0], *AFFINE[1:]])))
    return Input(folder / "a.nii", VOXELS, label_of=GRID)


@odd("Labels", "values between whole numbers")
def _(folder: Path) -> Input:
    return Input(nifti(folder, array=VOXELS / np.float32(2)), label_of=GRID)


@odd("Labels", "whole numbers with rounding errors")
def _(folder: Path) -> Input:
    return Input(nifti(folder, array=(VOXELS + np.float32(1e-4))), VOXELS, label_of=GRID)


# DICOM


for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "BitsAllocated"):
    odd("DICOM", f"without {keyword}")(without(keyword))
odd("DICOM", "without pixels")(without("PixelData"))
odd("DICOM", "without SeriesInstanceUID")(
    lambda folder: Input(edited(folder, lambda dataset, k: delattr(dataset, "SeriesInstanceUID")), VOXELS)
)
odd("DICOM", "PixelSpacing 0")(setting("PixelSpacing", [0, 2]))
odd("DICOM", "PixelSpacing negative")(setting("PixelSpacing", [-2, 2]))
odd("DICOM", "PixelSpacing of one slice differs")(setting("PixelSpacing", [2, 1], only=2))
odd("DICOM", "directions that are no unit vectors")(setting("ImageOrientationPatient", [2, 0, 0, 0, 2, 0]))
odd("DICOM", "directions at no right angle")(setting("ImageOrientationPatient", [1, 0, 0, 0.6, 0.8, 0]))
odd("DICOM", "one slice in another direction")(setting("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], only=1))
odd("DICOM", "localizers only")(
    lambda folder: Input(edited(folder, lambda dataset, k: setattr(dataset, "ImageType", "LOCALIZER")), VOXELS)
)
odd("DICOM", "BitsStored greater than BitsAllocated")(setting("BitsStored", 32))
odd("DICOM", "RescaleSlope 0")(setting("RescaleSlope", 0))


@odd("DICOM", "no spacing that is a number")
def _(folder: Path) -> Input:
    place = series(folder)
    for file in place.iterdir():
        content = file.read_bytes()
        at = content.index(b"\x28\x00\x30\x00DS") + 8
        file.write_bytes(content[:at] + b"a\\" + content[at + 2 :])
    return Input(place)


@odd("DICOM", "cut within the pixels")
def _(folder: Path) -> Input:
    place = series(folder)
    cut(place / "002.dcm", 0.97)
    return Input(place)


@odd("DICOM", "cut within the header")
def _(folder: Path) -> Input:
    place = series(folder)
    cut(place / "002.dcm", 0.5)
    return Input(place)


@odd("DICOM", "an unknown transfer syntax")
def _(folder: Path) -> Input:
    def edit(dataset: Any, k: int) -> None:
        dataset.file_meta.TransferSyntaxUID = "1.2.3.4"

    place = series(folder)
    for k, file in enumerate(sorted(place.iterdir())):
        dataset = pydicom.dcmread(file)
        edit(dataset, k)
        dataset.save_as(file, implicit_vr=False, little_endian=True)
    return Input(place)


@odd("DICOM", "a missing slice")
def _(folder: Path) -> Input:
    place = series(folder)
    (place / "002.dcm").unlink()
    return Input(place)


@odd("DICOM", "a slice twice")
def _(folder: Path) -> Input:
    place = series(folder)
    shutil.copy(place / "002.dcm", place / "copy.dcm")
    return Input(place, VOXELS)


@odd("DICOM", "two different slices at one place")
def _(folder: Path) -> Input:
    place = series(folder)
    dataset = pydicom.dcmread(place / "002.dcm")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(None, ["x"])
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(place / "copy.dcm")
    return Input(place)


@odd("DICOM", "file names and InstanceNumber against the order of the slices")
def _(folder: Path) -> Input:
    def edit(dataset: Any, k: int) -> None:
        dataset.InstanceNumber = 9 - k

    place = edited(folder, edit)
    for k, file in enumerate(sorted(place.iterdir())):
        file.rename(place / f"{9 - k}.bin")
    return Input(place, VOXELS)


@odd("DICOM", "a slice of another size")
def _(folder: Path) -> Input:
    def edit(dataset: Any, k: int) -> None:
        if k == 1:
            dataset.Rows, dataset.PixelData = 4, dataset.PixelData[: 4 * 6 * 2]

    return Input(edited(folder, edit))


@odd("DICOM", "a slice with another rescale")
def _(folder: Path) -> Input:
    expected = VOXELS.copy()
    expected[:, :, 1] = expected[:, :, 1] * 2 + 5

    def edit(dataset: Any, k: int) -> None:
        if k == 1:
            dataset.RescaleSlope, dataset.RescaleIntercept = 2, 5

    return Input(edited(folder, edit), expected)


@odd("DICOM", "two time points")
def _(folder: Path) -> Input:
    place = edited(folder, lambda dataset, k: setattr(dataset, "TemporalPositionIdentifier", 1))
    later = edited(folder, lambda dataset, k: setattr(dataset, "TemporalPositionIdentifier", 2), name="b", seed="b")
    uid = pydicom.dcmread(place / "001.dcm").SeriesInstanceUID
    for file in later.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID = uid
        dataset.save_as(place / f"later{file.name}")
    return Input(place)


@odd("DICOM", "two series in one folder")
def _(folder: Path) -> Input:
    place = series(folder)
    for file in series(folder, name="b", seed="b", modality="MR").iterdir():
        file.rename(place / f"b{file.name}")
    return Input(place)


@odd("DICOM", "the second of two series, named by `::2`")
def _(folder: Path) -> Input:
    place = series(folder)
    for file in series(folder, name="b", seed="b").iterdir():
        file.rename(place / f"b{file.name}")
    return Input(f"{place}::2", VOXELS)


@odd("DICOM", "a series that is not there, named by `::7`")
def _(folder: Path) -> Input:
    return Input(f"{series(folder)}::7")


@odd("DICOM", "two slices")
def _(folder: Path) -> Input:
    return Input(series(folder, grid=Geometry((6, 5, 2), AFFINE)), VOXELS[:, :, :2])


@odd("DICOM", "one slice")
def _(folder: Path) -> Input:
    return Input(series(folder, grid=Geometry((6, 5, 1), AFFINE)), VOXELS[:, :, :1])


@odd("DICOM", "one slice without a thickness")
def _(folder: Path) -> Input:
    place = edited(folder, lambda dataset, k: delattr(dataset, "SliceThickness"), grid=Geometry((6, 5, 1), AFFINE))
    return Input(place, VOXELS[:, :, :1])


@odd("DICOM", "gantry tilt")
def _(folder: Path) -> Input:
    def edit(dataset: Any, k: int) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, float(y) + 0.8 * k, z]

    return Input(edited(folder, edit), VOXELS)


@odd("DICOM", "MONOCHROME1 of a CT")
def _(folder: Path) -> Input:
    place = edited(folder, lambda dataset, k: setattr(dataset, "PhotometricInterpretation", "MONOCHROME1"))
    return Input(place, VOXELS)


@odd("DICOM", "bits of an overlay above 12 stored ones")
def _(folder: Path) -> Input:
    def edit(dataset: Any, k: int) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") | 0x7000).astype("<u2").tobytes()

    return Input(edited(folder, edit), VOXELS)


@odd("DICOM", "no preamble")
def _(folder: Path) -> Input:
    place = series(folder)
    for file in place.iterdir():
        dataset = pydicom.dcmread(file)
        bare = pydicom.Dataset({each.tag: each for each in dataset})
        pydicom.dcmwrite(file, bare, implicit_vr=True, little_endian=True)
    return Input(place, VOXELS)


@odd("DICOM", "a SEG as an image")
def _(folder: Path) -> Input:
    place = series(folder)
    labels = (VOXELS > 50).astype(np.uint8)
    write_dicom_seg(
        folder / "seg.dcm",
        labels,
        source=place,
        classes=[LabelClass(1, "a")],
        algorithm_name="a",
        algorithm_version="1",
    )
    return Input(folder / "seg.dcm", labels[:, :, np.flatnonzero(labels.any(axis=(0, 1)))])


@odd("DICOM", "a SEG of another series as a label")
def _(folder: Path) -> Input:
    made = _made_seg(folder)
    return Input(made, label_of=Geometry(GRID.shape, AFFINE + np.eye(4, k=3)))


@odd("DICOM", "a SEG beside its series")
def _(folder: Path) -> Input:
    _made_seg(folder).rename(folder / "series" / "seg.dcm")
    return Input(folder / "series", VOXELS)


def _made_seg(folder: Path) -> Path:
    write_dicom_seg(
        folder / "seg.dcm",
        (VOXELS > 50).astype(np.uint8),
        source=series(folder),
        classes=[LabelClass(1, "a")],
        algorithm_name="a",
        algorithm_version="1",
    )
    return folder / "seg.dcm"


# NRRD and MetaImage


@odd("NRRD and MetaImage", "NRRD cut short")
def _(folder: Path) -> Input:
    write_volume(folder / "a.nrrd", VOXELS, GRID)
    return Input(cut(folder / "a.nrrd", 0.9))


@odd("NRRD and MetaImage", "MetaImage cut short")
def _(folder: Path) -> Input:
    write_volume(folder / "a.mha", VOXELS, GRID)
    return Input(cut(folder / "a.mha", 0.9))


@odd("NRRD and MetaImage", "NRRD whose voxels are in a file that is missing")
def _(folder: Path) -> Input:
    (folder / "a.nhdr").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 6 5 4\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\nendian: little\nspace origin: (0,0,0)\n"
        "data file: a.raw\n"
    )
    return Input(folder / "a.nhdr")


@odd("NRRD and MetaImage", "MetaImage whose voxels are in another folder")
def _(folder: Path) -> Input:
    (folder / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nElementType = MET_SHORT\nElementSpacing = 1 1 1\n"
        "ElementDataFile = ../../a.raw\n"
    )
    return Input(folder / "a.mhd")


@odd("NRRD and MetaImage", "NRRD that says nothing of its space")
def _(folder: Path) -> Input:
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nencoding: raw\nendian: little\n\n"
    (folder / "a.nrrd").write_bytes(head + VOXELS.astype("<i2").tobytes(order="F"))
    return Input(folder / "a.nrrd", VOXELS)


# Pictures


@odd("Pictures", "PNG cut short")
def _(folder: Path) -> Input:
    return Input(cut(picture(folder, "a.png", np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8))))


@odd("Pictures", "JPEG cut short")
def _(folder: Path) -> Input:
    return Input(cut(picture(folder, "a.jpg", np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8))))


@odd("Pictures", "TIFF cut short")
def _(folder: Path) -> Input:
    tifffile.imwrite(folder / "a.tif", np.zeros((60, 80), np.uint8))
    return Input(cut(folder / "a.tif"))


@odd("Pictures", "a PNG that says 100000 x 100000 pixels")
def _(folder: Path) -> Input:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 100000, 100000, 8, 0, 0, 0, 0)
    content = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (folder / "a.png").write_bytes(content)
    return Input(folder / "a.png")


@odd("Pictures", "PNG of 1 bit")
def _(folder: Path) -> Input:
    return Input(picture(folder, "a.png", GREY > 100), as_read((GREY > 100).astype(np.uint8)))


@odd("Pictures", "PNG of 16 bits and three colours")
def _(folder: Path) -> Input:
    import imagecodecs

    rgb = np.stack([GREY.astype(np.uint16) * 257, GREY.astype(np.uint16) * 3, GREY.astype(np.uint16)], axis=2)
    (folder / "a.png").write_bytes(imagecodecs.png_encode(rgb))
    return Input(folder / "a.png", as_read(rgb))


@odd("Pictures", "PNG with colours from a table")
def _(folder: Path) -> Input:
    indexed = Picture.fromarray(np.repeat([[0, 1]], 3, axis=0).astype(np.uint8), mode="P")
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.save(folder / "a.png")
    rgb = np.repeat([[(255, 0, 0), (0, 0, 255)]], 3, axis=0).astype(np.uint8)
    return Input(folder / "a.png", as_read(rgb))


@odd("Pictures", "PNG that is transparent in places")
def _(folder: Path) -> Input:
    rgba = np.stack([GREY, GREY, GREY // 2, GREY], axis=2)
    return Input(picture(folder, "a.png", rgba), as_read(rgba[..., :3]))


@odd("Pictures", "JPEG turned by EXIF")
def _(folder: Path) -> Input:
    smooth = np.zeros((16, 24), np.uint8)
    exif = Picture.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    return Input(picture(folder, "a.jpg", smooth, exif=exif), as_read(np.rot90(smooth, -1)))


@odd("Pictures", "JPEG in CMYK")
def _(folder: Path) -> Input:
    Picture.new("CMYK", (8, 8)).save(folder / "a.jpg")
    return Input(folder / "a.jpg")


@odd("Pictures", "GIF of several frames")
def _(folder: Path) -> Input:
    frames = [Picture.fromarray(GREY), Picture.fromarray(255 - GREY)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    return Input(folder / "a.gif")


@odd("Pictures", "TIFF of pages of different sizes")
def _(folder: Path) -> Input:
    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(np.zeros((6, 8), np.uint8), contiguous=False)
        file.write(np.zeros((7, 8), np.uint8), contiguous=False)
    return Input(folder / "a.tif")


@odd("Pictures", "TIFF of several pages")
def _(folder: Path) -> Input:
    pages = np.stack([GREY, 255 - GREY])
    tifffile.imwrite(folder / "a.tif", pages, photometric="minisblack")
    return Input(folder / "a.tif", pages.transpose(2, 1, 0))


@odd("Pictures", "TIFF of floating-point numbers")
def _(folder: Path) -> Input:
    tifffile.imwrite(folder / "a.tif", GREY / np.float32(7))
    return Input(folder / "a.tif", as_read(GREY / np.float32(7)))


@odd("Pictures", "BigTIFF")
def _(folder: Path) -> Input:
    tifffile.imwrite(folder / "a.tif", GREY, bigtiff=True)
    return Input(folder / "a.tif", as_read(GREY))


@odd("Pictures", "TIFF in which 0 is white")
def _(folder: Path) -> Input:
    tifffile.imwrite(folder / "a.tif", GREY, photometric="miniswhite")
    return Input(folder / "a.tif", as_read(255 - GREY))


if __name__ == "__main__":
    sys.stdout.write("\n".join(table()) + "\n")
