"""Series lie where dcm2niix puts them, voxel for voxel; skipped where it is not installed (`pip install dcm2niix`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.images import Geometry, read_image
from medseg.images.geometry import reordered

CASES = (
    *("brain_flair_oblique", "enhanced_hyperfine", "enhanced_philips", "hippocampus_crop_study1"),
    *("hippocampus_crop_study2", "oblique_double", "seg_liver_ct", "two_slices", "vol_jpeg_lossless", "vol_jpegls"),
)


@pytest.mark.parametrize("case", CASES)
def test_dcm2niix_has_every_voxel_at_the_same_place(dicom_qa: Path, tmp_path: Path, case: str) -> None:
    places = [os.environ.get("PATH", ""), str(Path(sys.executable).parent)]
    program = shutil.which("dcm2niix", path=os.pathsep.join(places))
    if program is None:
        pytest.skip("dcm2niix is not installed: pip install dcm2niix")
    # -p n: the values that DICOM's own rescale gives, not Philips' precise ones.
    words = [program, "-z", "n", "-p", "n", "-o", str(tmp_path), str(dicom_qa / case / "dicom")]
    subprocess.run(words, check=True, capture_output=True)
    (converted,) = tmp_path.glob("*.nii")
    theirs, ours = nib.load(converted), read_image(dicom_qa / case / "dicom")
    turned = reordered(np.asanyarray(theirs.dataobj), Geometry(theirs.shape, theirs.affine), ours.geometry)
    assert turned is not None, ours.geometry.difference(Geometry(theirs.shape, theirs.affine))
    np.testing.assert_allclose(turned, ours.array, rtol=1e-5, atol=1e-3)
