"""JPEG of 12 bits (extended, process 4) by GDCM, as a plug-in of pydicom, whose own takes 8 bits only."""

from __future__ import annotations

from importlib.util import find_spec

from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGExtended12Bit

DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("python-gdcm",)}


def is_available(uid: str) -> bool:
    """Whether a transfer syntax can be decoded here; pydicom asks this."""
    return uid == JPEGExtended12Bit and find_spec("gdcm") is not None


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """One frame as pydicom wants it: samples of 8 or 16 bits, little endian.

    Raises:
        ValueError: if it cannot be decoded to the size that the header tells.
    """
    import gdcm  # type: ignore[import-untyped]

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(source)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(str(runner.photometric_interpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    syntax = gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = runner.bits_stored
    image.SetPixelFormat(gdcm.PixelFormat(runner.samples_per_pixel, runner.bits_allocated, bits, bits - 1, 0))
    decoded: bytes = image.GetBuffer().encode("utf-8", "surrogateescape")
    if len(decoded) != runner.frame_length(unit="bytes"):
        raise ValueError("a frame of another size than its header tells")
    return decoded
