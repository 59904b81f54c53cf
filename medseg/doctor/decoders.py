"""Which compressed DICOM pixels can be read here."""

from __future__ import annotations

from medseg.doctor.finding import Finding


def dicom_decoders() -> Finding:
    """The encodings of `images.dicom` with a decoder here."""
    from medseg.images.dicom.codecs import CODECS  # here, since what it needs may be what is missing

    available = {codec: codec.is_available for codec in CODECS}
    value = ", ".join(codec.name if found else f"no {codec.name}" for codec, found in available.items())
    missing = sorted({codec.package for codec, found in available.items() if not found})
    return Finding("DICOM decoders", value, f"pip install {' '.join(missing)}" if missing else None)
