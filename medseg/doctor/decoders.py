"""Which compressed DICOM pixels can be read here."""

from __future__ import annotations

from importlib.util import find_spec

from pydicom.pixels import get_decoder

from medseg.doctor.finding import Finding

# What scanners and archives write; transfer syntaxes, DICOM PS3.6 annex A.
_ENCODINGS = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


def dicom_decoders() -> Finding:
    """The compressed encodings that pydicom and its plug-ins decode, or else SimpleITK, as `images.dicom` asks them."""
    simpleitk = find_spec("SimpleITK") is not None
    available = {name: simpleitk or get_decoder(uid).is_available for name, uid in _ENCODINGS.items()}
    value = ", ".join(name if found else f"no {name}" for name, found in available.items())
    return Finding("DICOM decoders", value, None if all(available.values()) else "pip install SimpleITK")
