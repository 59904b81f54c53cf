"""JPEG lossless, and JPEG of 12 bits, by libjpeg-turbo as a plug-in of pydicom.

pydicom's own take GDCM, which ends the process when data are damaged and knows no 12 bits here, or a decoder
under the GPL.
"""

from __future__ import annotations

from importlib.util import find_spec

from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

DECODER_DEPENDENCIES = dict.fromkeys((JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), ("imagecodecs",))
_END = b"\xff\xd9"  # what is cut short is decoded too, to grey


def is_available(uid: str) -> bool:
    """Whether a transfer syntax can be decoded here; pydicom asks this."""
    return uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """One frame as pydicom wants it: samples as wide as the header tells, little endian, colours untouched.

    Raises:
        ValueError: if it is cut short, or of another size than the header tells.
        RuntimeError: if it cannot be decoded.
    """
    import imagecodecs

    if not source.rstrip(b"\0\xff").endswith(_END):
        raise ValueError("a frame that is cut short")
    samples = runner.samples_per_pixel
    colour = "rgb" if samples > 1 else None  # the same in and out: pydicom knows what it is
    pixels = imagecodecs.jpeg_decode(source, colorspace=colour, outcolorspace=colour)
    if pixels.shape != (runner.rows, runner.columns, samples)[: 2 if samples == 1 else 3]:
        raise ValueError("a frame of another size than its header tells")
    runner.set_option("planar_configuration", 0)
    width = runner.bits_allocated // 8
    if pixels.dtype.itemsize > width:
        raise ValueError("samples of more bits than the header tells")
    return bytes(pixels.astype(f"<u{width}").tobytes())
