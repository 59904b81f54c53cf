"""Stored values come out exactly, whatever the encoding, bits, sign and colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

from medseg.errors import ImageError
from medseg.images.dicom import read_dicom

Series = Callable[..., Path]

ROWS, COLUMNS = 48, 40
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def ramp(low: int, high: int) -> np.ndarray[Any, Any]:
    """Rows of smooth values, and the extremes."""
    values = np.linspace(low, high, ROWS * COLUMNS).round().astype(np.int64)
    return values.reshape(ROWS, COLUMNS)


@pytest.fixture
def one(series: Series) -> Callable[..., Path]:
    """Write one slice of given stored values; gives its file."""

    def make(
        stored: Any,
        *,
        bits: int = 16,
        allocated: int = 16,
        signed: bool = False,
        syntax: str = ExplicitVRLittleEndian,
        **tags: Any,
    ) -> Path:
        file = series(count=1) / "001.dcm"
        dataset = pydicom.dcmread(file)
        dataset.Rows, dataset.Columns, dataset.SliceThickness = *stored.shape[:2], 1
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, bits, bits - 1
        dataset.PixelRepresentation = int(signed)
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        kind = np.dtype(f"{'i' if signed else 'u'}{allocated // 8}")
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = stored.astype(kind.newbyteorder(">")).tobytes()
            dataset["PixelData"].VR = "OB" if allocated == 8 else "OW"
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=False)
            return file
        dataset.PixelData = stored.astype(kind).tobytes()
        if len(dataset.PixelData) % 2:
            dataset.PixelData += b"\0"
        if syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(file, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
        else:
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(file)
        return file

    return make


def plane(file: Path) -> np.ndarray[Any, Any]:
    """(row, column)."""
    return read_dicom(file).array[:, :, 0].swapaxes(0, 1)


NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
LOSSLESS = [RLELossless, JPEGLSLossless, JPEG2000Lossless]


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (12, True), (16, False), (16, True)])
def test_every_encoding_gives_the_stored_values(one: Any, syntax: str, bits: int, signed: bool) -> None:
    stored = ramp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else ramp(0, 2**bits - 1)
    found = plane(one(stored, bits=bits, allocated=max(8, -(-bits // 8) * 8), signed=signed, syntax=syntax))
    np.testing.assert_array_equal(found, stored)
    assert found.dtype == np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")


def test_near_lossless_is_near(one: Any) -> None:
    file = one(ramp(0, 4095), bits=12)
    dataset = pydicom.dcmread(file)
    dataset.compress(JPEGLSNearLossless, jls_error=3, generate_instance_uid=False)
    dataset.save_as(file)
    found = plane(file).astype(int)
    assert 0 < np.abs(found - ramp(0, 4095)).max() <= 3


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit, JPEGBaseline8Bit, HTJ2KLossless])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_encodings_that_pydicom_does_not_write(
    one: Any, syntax: str, cut: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="encodes what pydicom cannot")
    bits = 8 if syntax == JPEGBaseline8Bit else 12
    stored = ramp(0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)
    encoded = {
        JPEGLossless: lambda: codecs.ljpeg_encode(stored, bitspersample=bits),
        JPEGLosslessSV1: lambda: codecs.ljpeg_encode(stored, bitspersample=bits),
        JPEGExtended12Bit: lambda: codecs.jpeg_encode(stored, level=100, bitspersample=bits),
        JPEGBaseline8Bit: lambda: codecs.jpeg_encode(stored, level=100),
        HTJ2KLossless: lambda: codecs.htj2k_encode(stored, reversible=True),
    }[syntax]()
    file = one(stored, bits=bits, allocated=8 if bits == 8 else 16)
    dataset = pydicom.dcmread(file)
    if cut:
        encoded = encoded[: len(encoded) // 2]
    dataset.PixelData = encapsulate([encoded])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(file)
    if cut:
        with pytest.raises(ImageError, match=r"001\.dcm: its pixels are truncated or damaged"):
            read_dicom(file)
        assert capfd.readouterr().err == ""
        return
    found = plane(file).astype(int)
    lossy = syntax in (JPEGExtended12Bit, JPEGBaseline8Bit)
    assert np.abs(found - stored).max() <= (3 if lossy else 0)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("file", "other"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
    ],
)
def test_files_of_other_writers_hold_the_same(file: str, other: str) -> None:
    np.testing.assert_array_equal(read_dicom(TEST_FILES / file).array, read_dicom(TEST_FILES / other).array)


def test_bits_that_are_not_stored_mean_nothing(one: Any) -> None:
    stored = ramp(0, 4095)
    np.testing.assert_array_equal(plane(one(stored | 0xA000, bits=12)), stored)
    signed = ramp(-2048, 2047)
    np.testing.assert_array_equal(plane(one(signed & 0x0FFF, bits=12, signed=True)), signed)
    np.testing.assert_array_equal(plane(one((stored << 4) | 0x5, bits=12, HighBit=15)), stored)


def test_unsigned_values_with_an_intercept_become_signed(one: Any) -> None:
    image = read_dicom(one(ramp(0, 4095), bits=12, RescaleIntercept=-1024))
    assert image.array.dtype == np.int16 and (image.array.min(), image.array.max()) == (-1024, 3071)


def test_values_that_16_bits_cannot_hold_become_float32(one: Any) -> None:
    image = read_dicom(one(ramp(0, 65535), RescaleIntercept=-1024))
    assert image.array.dtype == np.float32 and (image.array.min(), image.array.max()) == (-1024, 64511)


def test_signed_8_bits_with_an_intercept(one: Any) -> None:
    image = read_dicom(one(ramp(-128, 127), bits=8, allocated=8, signed=True, RescaleIntercept=-1000))
    assert (image.array.min(), image.array.max()) == (-1128, -873)


@pytest.mark.parametrize(("modality", "turned"), [("CT", False), ("MR", False), ("DX", True), ("MG", True)])
def test_monochrome1(one: Any, modality: str, turned: bool) -> None:
    stored = ramp(0, 4095)
    image = read_dicom(one(stored, bits=12, PhotometricInterpretation="MONOCHROME1", Modality=modality))
    np.testing.assert_array_equal(image.array[:, :, 0].T, 4095 - stored if turned else stored)
    assert any("MONOCHROME1" in warning for warning in image.warnings)


def test_padding_is_kept_and_counted(one: Any) -> None:
    stored = ramp(-1000, 1000)
    stored[:2] = -2000
    image = read_dicom(one(stored, signed=True, syntax=ImplicitVRLittleEndian, PixelPaddingValue=-2000))
    assert image.array.min() == -2000
    assert any("80 voxels hold the padding value (-2000 as stored)" in warning for warning in image.warnings)


def test_padding_of_signed_pixels_may_be_written_unsigned(one: Any) -> None:
    stored = ramp(-1000, 1000)
    stored[:2] = -2000
    file = one(stored, signed=True)
    dataset = pydicom.dcmread(file)
    dataset.add(pydicom.DataElement("PixelPaddingValue", "US", 65536 - 2000))
    dataset.save_as(file)
    assert any("80 voxels hold the padding value (-2000" in warning for warning in read_dicom(file).warnings)


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_is_the_last_axis(one: Any, planar: int) -> None:
    rgb = np.stack([ramp(0, 255), ramp(50, 100), ramp(255, 0)], axis=2)
    file = one(rgb, bits=8, allocated=8, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=planar)
    if planar:
        dataset = pydicom.dcmread(file)
        dataset.PixelData = rgb.transpose(2, 0, 1).astype(np.uint8).tobytes()
        dataset.save_as(file)
    image = read_dicom(file)
    np.testing.assert_array_equal(image.array[:, :, 0].swapaxes(0, 1), rgb)
    assert image.array.dtype == np.uint8


def test_palette_becomes_rgb() -> None:
    image = read_dicom(TEST_FILES / "examples_palette.dcm")
    assert image.array.shape == (800, 350, 1, 3) and image.array.dtype == np.uint8


def test_unknown_encoding_is_named(one: Any) -> None:
    file = one(ramp(0, 255))
    dataset = pydicom.dcmread(file)
    dataset.PixelData = encapsulate([b"1234"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = generate_uid()
    dataset.save_as(file, implicit_vr=False, little_endian=True)
    with pytest.raises(ImageError, match=r"001\.dcm: its encoding \(unknown\) is not read"):
        read_dicom(file)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Rows": ROWS + 1}, "holds 3840 bytes of pixels where .* make 3920"),
        ({"Rows": ROWS - 1}, "holds 3840 bytes of pixels where Rows, Columns and BitsAllocated make 3760"),
        ({"Columns": COLUMNS - 1}, "holds 3840 bytes"),
    ],
)
def test_size_that_the_pixels_contradict(one: Any, tags: Any, reason: str) -> None:
    file = one(ramp(0, 255))
    dataset = pydicom.dcmread(file)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file)
    with pytest.raises(ImageError, match=reason):
        read_dicom(file)


def test_value_that_the_stored_bits_cannot_hold_is_an_error(one: Any) -> None:
    file = one(ramp(0, 65535), syntax=JPEG2000Lossless)
    dataset = pydicom.dcmread(file)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.save_as(file)
    with pytest.raises(ImageError, match="decodes to values from 0 to 65535, which its 12 stored bits cannot hold"):
        read_dicom(file)


def test_jp2_header_without_end_is_an_error(one: Any) -> None:
    file = one(ramp(0, 4095), bits=12, syntax=JPEG2000Lossless)
    dataset = pydicom.dcmread(file)
    dataset.PixelData = encapsulate([b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)])
    dataset.save_as(file)
    with pytest.raises(ImageError, match="truncated or damaged"):
        read_dicom(file)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
def test_damaged_code_stream_is_named(one: Any, syntax: str) -> None:
    file = one(ramp(0, 4095), bits=12, syntax=syntax)
    dataset = pydicom.dcmread(file)
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
    dataset.save_as(file)
    with pytest.raises(ImageError, match=r"001\.dcm: "):
        read_dicom(file)
