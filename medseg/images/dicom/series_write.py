"""A volume written as a DICOM series of an invented patient, for demos and tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from medseg.files import replacing
from medseg.images.geometry import LPS_TO_RAS, Geometry

_STORAGE = {"CT": CTImageStorage, "MR": MRImageStorage}


def write_dicom_series(
    folder: str | os.PathLike[str],
    array: NDArray[np.int16],
    geometry: Geometry,
    *,
    modality: str,
    seed: str = "phantom",
) -> None:
    """Write voxels `(i, j, k)` as one file per slice, `001.dcm` to `NNN.dcm`, k being the slice axis.

    Columns are i and rows j; positions are converted from RAS+ to DICOM's LPS+ mm. The same voxels,
    grid and `seed` give the same files, UIDs included.

    Args:
        folder: made if absent.
        array: int16; HU for CT.
        geometry: right-angled; k must run along the normal (i cross j) or against it.
        modality: CT or MR.
        seed: what the UIDs are drawn from.

    Raises:
        ValueError: for another modality or type, or a sheared grid.
        OutputError: if a file cannot be written.
    """
    if modality not in _STORAGE or array.dtype != np.int16 or array.shape != geometry.shape:
        raise ValueError(f"{modality} of {array.dtype} {array.shape}: expected CT or MR of int16 {geometry.shape}")
    lps = LPS_TO_RAS @ geometry.affine
    axes = lps[:3, :3] / np.array(geometry.spacing)
    if abs(abs(np.cross(axes[:, 0], axes[:, 1]) @ axes[:, 2]) - 1) > 1e-4:
        raise ValueError("a sheared grid cannot be written as a DICOM series")
    for k in range(array.shape[2]):
        slice_ = _slice(modality, seed, k)
        slice_.ImageOrientationPatient = [_decimal(value) for value in axes[:, :2].T.ravel()]
        slice_.ImagePositionPatient = [_decimal(value) for value in (lps @ [0, 0, k, 1])[:3]]
        slice_.PixelSpacing = [_decimal(geometry.spacing[1]), _decimal(geometry.spacing[0])]
        slice_.SliceThickness = _decimal(geometry.spacing[2])
        slice_.Rows, slice_.Columns = array.shape[1], array.shape[0]
        slice_.PixelData = np.ascontiguousarray(array[:, :, k].T).astype("<i2").tobytes()
        with replacing(Path(folder) / f"{k + 1:03d}.dcm") as beside:
            slice_.save_as(beside, enforce_file_format=True)


def _slice(modality: str, seed: str, k: int) -> FileDataset:
    """Everything of one slice but its place and pixels."""

    def uid(*parts: str) -> UID:
        return generate_uid(entropy_srcs=[seed, modality, *parts])

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _STORAGE[modality]
    meta.MediaStorageSOPInstanceUID = uid("instance", str(k))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _describe(slice_, modality)
    slice_.SOPClassUID, slice_.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = uid("study"), uid("series")
    slice_.FrameOfReferenceUID = uid("frame of reference")
    slice_.InstanceNumber = k + 1
    return slice_


def _describe(slice_: Dataset, modality: str) -> None:
    slice_.PatientName, slice_.PatientID = "PHANTOM", "PHANTOM"
    slice_.PatientBirthDate = slice_.PatientSex = ""
    slice_.StudyDate = slice_.StudyTime = slice_.AccessionNumber = slice_.ReferringPhysicianName = ""
    slice_.StudyID, slice_.SeriesNumber = "1", 1
    slice_.Modality, slice_.Manufacturer, slice_.PositionReferenceIndicator = modality, "medseg", ""
    slice_.ImageType = ["DERIVED", "PRIMARY", "AXIAL" if modality == "CT" else "OTHER"]
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
    if modality == "CT":
        slice_.RescaleIntercept, slice_.RescaleSlope, slice_.RescaleType = 0, 1, "HU"
        slice_.KVP = slice_.AcquisitionNumber = None
    else:
        slice_.ScanningSequence, slice_.SequenceVariant, slice_.ScanOptions = "RM", "NONE", ""
        slice_.MRAcquisitionType, slice_.EchoTime, slice_.EchoTrainLength = "3D", None, None


def _decimal(value: Any) -> str:
    """A DICOM decimal string: at most 16 characters (PS3.5 section 6.2)."""
    return f"{float(value):.9g}"[:16]
