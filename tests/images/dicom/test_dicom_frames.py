"""Multi-frame files: frames are placed by their functional groups, not by their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from medseg.errors import ImageError
from medseg.images.dicom import list_series, read_dicom


def item(**values: Any) -> Sequence:
    inner = Dataset()
    for keyword, value in values.items():
        setattr(inner, keyword, value)
    return Sequence([inner])


def enhanced(file: Path, frames: list[dict[str, Sequence]], shared: dict[str, Sequence], **values: Any) -> Path:
    """A file of frames 4 x 3, frame k holding 100 * k and up."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, EnhancedMRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedMRImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.Modality, dataset.Rows, dataset.Columns = generate_uid(), "MR", 3, 4
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.NumberOfFrames = len(frames)
    pixels = np.arange(12).reshape(1, 3, 4) + 100 * np.arange(len(frames)).reshape(-1, 1, 1)
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset.SharedFunctionalGroupsSequence = Sequence([groups(shared)])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([groups(each) for each in frames])
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file)
    return file


def groups(sequences: dict[str, Sequence]) -> Dataset:
    found = Dataset()
    for keyword, sequence in sequences.items():
        setattr(found, keyword, sequence)
    return found


def at(height: float, **more: Sequence) -> dict[str, Sequence]:
    return {"PlanePositionSequence": item(ImagePositionPatient=[0, 0, height]), **more}


SHARED = {
    "PlaneOrientationSequence": item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
    "PixelMeasuresSequence": item(PixelSpacing=[3, 2], SliceThickness=5),
}


def test_frames_in_any_order_are_sorted_by_their_place(tmp_path: Path) -> None:
    image = read_dicom(enhanced(tmp_path / "a.dcm", [at(10), at(0), at(15), at(5)], SHARED))
    assert image.array[0, 0].tolist() == [100, 300, 0, 200]
    np.testing.assert_allclose(image.geometry.affine, np.diag([-2.0, -3, 5, 1]), atol=1e-9)


def test_more_frames_than_a_file_can_hold_are_an_error_and_take_no_memory(tmp_path: Path) -> None:
    file = enhanced(tmp_path / "a.dcm", [at(0)], SHARED, NumberOfFrames=2**31 - 1)
    dataset = pydicom.dcmread(file)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(file)
    with pytest.raises(ImageError, match=r"a\.dcm: NumberOfFrames is 2147483647, more than the file can hold; export"):
        read_dicom(file)


def test_rescale_of_a_frame_goes_before_the_shared_one(tmp_path: Path) -> None:
    shared = SHARED | {"PixelValueTransformationSequence": item(RescaleSlope=2, RescaleIntercept=1)}
    own = item(RescaleSlope=3, RescaleIntercept=-5)
    image = read_dicom(enhanced(tmp_path / "a.dcm", [at(0), at(5, PixelValueTransformationSequence=own)], shared))
    assert image.array[1, 0].tolist() == [3, 298]


@pytest.mark.parametrize("name", ["TemporalPositionIndex", "StackID"])
def test_volumes_at_one_place_are_split(tmp_path: Path, name: str) -> None:
    values = ["1", "2"] if name == "StackID" else [1, 2]
    frames = [
        at(5 * k, FrameContentSequence=item(**{name: value}, DimensionIndexValues=[value_ + 1, k + 1]))
        for k in range(3)
        for value_, value in enumerate(values)
    ]
    file = enhanced(tmp_path / "a.dcm", frames, SHARED)
    with pytest.raises(ImageError, match=f"holds 2 series: .*{name} 1"):
        read_dicom(file)
    assert read_dicom(file, series="2").array[0, 0].tolist() == [100, 300, 500]


def test_a_dimension_tells_frames_apart_where_no_tag_does(tmp_path: Path) -> None:
    dimensions = [[n // 2 + 1, n % 2 + 1] for n in range(6)]
    frames = [at(5 * n, FrameContentSequence=item(DimensionIndexValues=[n, m])) for n, m in dimensions]
    file = enhanced(tmp_path / "a.dcm", frames, SHARED)
    assert [info.description for info in list_series(file)] == ["(dimension 2 1)", "(dimension 2 2)"]


def test_missing_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a slice is missing"):
        read_dicom(enhanced(tmp_path / "a.dcm", [at(0), at(5), at(15)], SHARED))


def test_frames_without_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not tell where its frames lie"):
        read_dicom(enhanced(tmp_path / "a.dcm", [{}, {}], {}))


def test_number_of_frames_must_be_true(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="NumberOfFrames is 3 and 2 frames are described"):
        read_dicom(enhanced(tmp_path / "a.dcm", [at(0), at(5)], SHARED, NumberOfFrames=3))


def test_film_is_refused_by_its_modality(tmp_path: Path) -> None:
    file = enhanced(tmp_path / "a.dcm", [{}, {}], {}, Modality="NM", SOPClassUID="1.2.840.10008.5.1.4.1.1.20")
    dataset = pydicom.dcmread(file)
    del dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(file)
    with pytest.raises(ImageError, match="a multi-frame NM that does not tell where its frames lie"):
        read_dicom(file)


def test_compressed_frames_are_read(tmp_path: Path) -> None:
    file = enhanced(tmp_path / "a.dcm", [at(10), at(0), at(5)], SHARED)
    before = read_dicom(file).array
    dataset = pydicom.dcmread(file)
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.save_as(file)
    np.testing.assert_array_equal(read_dicom(file).array, before)
