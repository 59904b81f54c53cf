"""Which compressed DICOM pixels can be read here."""

from __future__ import annotations

from medseg.doctor.finding import Finding
from medseg.images.dicom.pixels import can_decode

# What scanners and archives write (transfer syntaxes, DICOM PS3.6 annex A), and the package that decodes it.
_ENCODINGS = {
    "RLE": ("1.2.840.10008.1.2.5", "pydicom"),
    "JPEG": ("1.2.840.10008.1.2.4.50", "pillow"),
    "JPEG 12 bit": ("1.2.840.10008.1.2.4.51", "python-gdcm"),
    "JPEG lossless": ("1.2.840.10008.1.2.4.70", "python-gdcm"),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", "pyjpegls"),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", "pylibjpeg pylibjpeg-openjpeg"),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", "pylibjpeg pylibjpeg-openjpeg"),
}


def dicom_decoders() -> Finding:
    """The compressed encodings that `images` decodes with the packages that are installed."""
    missing = {name: package for name, (uid, package) in _ENCODINGS.items() if not can_decode(uid)}
    value = ", ".join(f"no {name}" if name in missing else name for name in _ENCODINGS)
    return Finding(
        "DICOM decoders", value, f"pip install {' '.join(sorted(set(missing.values())))}" if missing else None
    )
