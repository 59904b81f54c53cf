"""Which decoder reads which encoding of pixels: one each, chosen because it is exact and free to use.

pydicom would take the first that does not raise. `pylibjpeg-libjpeg` is left out for its licence (GPL),
`python-gdcm` and `pylibjpeg-rle` because damaged data end the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

_SYNTAX = "1.2.840.10008.1.2."
_OURS = "medseg"  # `jpeg`


@dataclass(frozen=True)
class Codec:
    """A kind of encoding, the transfer syntaxes (PS3.6 annex A) of it, pydicom's plug-in for it and its package."""

    name: str
    syntaxes: tuple[str, ...]
    plugin: str
    package: str

    @property
    def is_available(self) -> bool:
        """Whether every syntax can be decoded here."""
        return all(self.plugin in _decoder(syntax).available_plugins for syntax in self.syntaxes)


def _syntaxes(*endings: str) -> tuple[str, ...]:
    return tuple(_SYNTAX + ending for ending in endings)


CODECS = (
    Codec("RLE", _syntaxes("5"), "pydicom", "pydicom"),
    Codec("JPEG", _syntaxes("4.50"), "pillow", "pillow"),
    Codec("JPEG 12 bit", _syntaxes("4.51"), _OURS, "imagecodecs"),
    Codec("JPEG lossless", _syntaxes("4.57", "4.70"), _OURS, "imagecodecs"),
    Codec("JPEG-LS", _syntaxes("4.80", "4.81"), "pyjpegls", "pyjpegls"),
    Codec("JPEG 2000", _syntaxes("4.90", "4.91"), "pylibjpeg", "pylibjpeg[openjpeg]"),
    Codec("HTJ2K", _syntaxes("4.201", "4.202", "4.203"), "pylibjpeg", "pylibjpeg[openjpeg]"),
)
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def decoder_for(syntax: str) -> tuple[Decoder, str]:
    """pydicom's decoder of a transfer syntax, and the plug-in to name to it.

    Raises:
        LookupError: saying, for an error, which encoding cannot be decoded and what to install.
    """
    if syntax in (*NATIVE, DeflatedExplicitVRLittleEndian):
        return _decoder(syntax), ""
    codec = next((each for each in CODECS if syntax in each.syntaxes), None)
    if codec is None:
        uid = UID(syntax)
        name = uid.name if uid.is_transfer_syntax else "unknown"
        raise LookupError(f"its encoding ({name}) is not read; convert it to an uncompressed one")
    if not codec.is_available:
        raise LookupError(f"its encoding ({codec.name}) needs a decoder; pip install {codec.package}")
    return _decoder(syntax), codec.plugin


@cache
def _decoder(syntax: str) -> Decoder:
    decoder = get_decoder(syntax)
    if any(syntax in codec.syntaxes and codec.plugin == _OURS for codec in CODECS):
        decoder.add_plugin(_OURS, ("medseg.images.dicom.jpeg", "decode_frame"))
    return decoder
