"""Real files: every case behaves as expected.json says, and every probe is hit."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.errors import ImageError
from medseg.images.dicom import list_series, mosaic, read_dicom, read_dicom_geometry
from medseg.images.image import Image

VOLUMES = [
    "brain_flair_oblique",
    "enhanced_hyperfine",
    "enhanced_philips",
    "gantry_tilt_ct",
    "hippocampus_crop_study1",
    "hippocampus_crop_study2",
    "nonsquare_rescaled",
    "oblique_double",
    "rtstruct_phantom",
    "seg_liver_ct",
    "two_slices",
    "vol_explicit_le",
    "vol_implicit_le",
    "vol_jpeg2000",
    "vol_jpeg_lossless",
    "vol_jpegls",
    "vol_rle",
]
REFUSED = {
    "missing_slice_ct": r"a slice is missing: the slices lie 5\.000 mm apart, and 10\.000 mm after slice 3 of 4",
    "mosaic_transfer_syntaxes": "holds 7 series: 1 = MR 64 x 64 x 35 .*; 7 = MR 64 x 64 x 35 ",
    "same_position_ct": r"holds 2 series: .*AcquisitionNumber 14.*AcquisitionNumber 15",
    "seg_small_ct": r"uneven slice distances from 1\.250 to 202\.500 mm",
    "time_series_4d": r"holds 2 series: .*InstanceNumber 1-4.*InstanceNumber 43-46",
    "two_orientations": "holds 2 series: .*sagittal.*axial",
}
ALONE = ["rgb_secondary_capture", "single_slice"]  # tested on their own below


@cache
def expected(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "expected.json").read_text())
    return found


def value_at(image: Image, ras_mm: list[float]) -> float:
    index = (np.linalg.inv(image.geometry.affine) @ [*ras_mm, 1])[:3]
    assert np.abs(index - index.round()).max() < 0.01, "a probe must lie on a voxel's centre"
    return float(image.array[tuple(index.round().astype(int))])


def test_every_case_is_tested(dicom_qa: Path) -> None:
    assert sorted([*VOLUMES, *REFUSED, *ALONE]) == sorted(expected(dicom_qa))


@pytest.mark.parametrize("case", VOLUMES)
def test_a_volume_has_every_value_at_its_place(dicom_qa: Path, case: str) -> None:
    facts, image = expected(dicom_qa)[case], read_dicom(dicom_qa / case / "dicom")
    assert image.geometry.shape == image.array.shape == (facts["columns"], facts["rows"], facts["distinct_positions"])
    np.testing.assert_allclose(image.geometry.affine, facts["affine_ras_col_row_slice"], atol=1e-5)
    assert facts["probes"]
    for probe in facts["probes"]:
        assert value_at(image, probe["ras_mm"]) == pytest.approx(probe["value"], rel=1e-5)
    for name in ("min", "max", "mean"):
        assert getattr(image.array.astype(np.float64), name)() == pytest.approx(facts[name], abs=1e-3)
    assert image.modality == facts["modality"][0]
    assert image.geometry.agrees_with(read_dicom_geometry(dicom_qa / case / "dicom"))


@pytest.mark.parametrize(("case", "reason"), REFUSED.items())
def test_what_is_no_single_volume_is_refused_by_name(dicom_qa: Path, case: str, reason: str) -> None:
    with pytest.raises(ImageError, match=f"{case}.*{reason}"):
        read_dicom(dicom_qa / case / "dicom")


@pytest.mark.parametrize("case", ["missing_slice_ct", "same_position_ct", "seg_small_ct", "time_series_4d"])
def test_refused_slices_have_their_values_when_read_alone(dicom_qa: Path, case: str) -> None:
    for probe in expected(dicom_qa)[case]["probes"]:
        image = read_dicom(dicom_qa / case / "dicom" / probe["file"])
        assert value_at(image, probe["ras_mm"]) == pytest.approx(probe["value"], rel=1e-5)


@pytest.mark.parametrize("case", ["time_series_4d", "same_position_ct"])
def test_volumes_at_one_place_are_read_one_by_one(dicom_qa: Path, case: str) -> None:
    folder = dicom_qa / case / "dicom"
    images = [read_dicom(folder, series=str(info.number)) for info in list_series(folder)]
    assert len(images) == 2
    for probe in expected(dicom_qa)[case]["probes"]:
        (image,) = [each for each in images if probe["file"] in [file.name for file in each.files]]
        assert value_at(image, probe["ras_mm"]) == pytest.approx(probe["value"], rel=1e-5)


def test_two_orientations_are_two_volumes(dicom_qa: Path) -> None:
    folder, groups = dicom_qa / "two_orientations" / "dicom", expected(dicom_qa)["two_orientations"]["groups"]
    images = [read_dicom(folder, series=name) for name in ("sagittal", "axial")]
    for image, facts in zip(images, groups, strict=True):
        np.testing.assert_allclose(image.geometry.affine, facts["affine_ras_col_row_slice"], atol=1e-5)
        for probe in facts["probes"]:
            assert value_at(image, probe["ras_mm"]) == pytest.approx(probe["value"], rel=1e-5)


def test_single_slice_is_a_picture_in_its_place(dicom_qa: Path) -> None:
    image = read_dicom(dicom_qa / "single_slice" / "dicom")
    assert image.spatial_dims == 2 and image.array.shape == (256, 256, 1)
    assert any("thickness" in warning for warning in image.warnings)
    for probe in expected(dicom_qa)["single_slice"]["probes"]:
        assert value_at(image, probe["ras_mm"]) == probe["value"]


def test_colour_is_channels(dicom_qa: Path) -> None:
    image, facts = read_dicom(dicom_qa / "rgb_secondary_capture" / "dicom"), expected(dicom_qa)["rgb_secondary_capture"]
    assert image.array.shape == (52, 77, 4, 3) and image.array.dtype == np.uint8
    assert image.array.mean() == pytest.approx(facts["mean"], abs=1e-3)
    np.testing.assert_allclose(image.geometry.affine, facts["affine_ras_col_row_slice"], atol=1e-5)


def test_gantry_tilt_is_told(dicom_qa: Path) -> None:
    image = read_dicom(dicom_qa / "gantry_tilt_ct" / "dicom")
    assert any("18.5 degrees" in warning for warning in image.warnings)


def test_mosaic_of_every_encoding_is_the_volume_that_another_converter_made(dicom_qa: Path) -> None:
    reference = nib.load(dicom_qa / "mosaic_transfer_syntaxes" / "ref" / "1.nii")
    for file in sorted((dicom_qa / "mosaic_transfer_syntaxes" / "dicom").iterdir()):
        image = read_dicom(file)
        assert_equal_in_the_world(image, np.asarray(reference.dataobj).squeeze(), reference.affine)


def test_mosaic_against_the_normal_keeps_every_slice_in_its_place(
    dicom_qa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = next((dicom_qa / "mosaic_transfer_syntaxes" / "dicom").glob("1_*"))
    along, told = read_dicom(file), mosaic._told

    def other_way(frame: Any) -> Any:
        count, towards = told(frame) or (0, np.zeros(3))
        return count, -towards

    monkeypatch.setattr(mosaic, "_told", other_way)
    against = read_dicom(file)
    np.testing.assert_array_equal(against.array, along.array[:, :, ::-1])
    np.testing.assert_allclose(against.geometry.affine @ [0, 0, 34, 1], along.geometry.affine @ [0, 0, 0, 1])
    assert against.geometry.orientation == along.geometry.orientation


def test_mosaic_without_its_private_header_is_a_picture_of_tiles(
    dicom_qa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosaic, "_told", lambda _: None)
    image = read_dicom(next((dicom_qa / "mosaic_transfer_syntaxes" / "dicom").glob("1_*")))
    assert image.spatial_dims == 2 and image.array.shape == (384, 384, 1)
    assert any("picture of tiles" in warning for warning in image.warnings)


@pytest.mark.parametrize("case", ["vol_jpeg_lossless", "vol_jpegls", "vol_rle"])
def test_every_lossless_encoding_holds_the_same_voxels(dicom_qa: Path, case: str) -> None:
    np.testing.assert_array_equal(
        read_dicom(dicom_qa / case / "dicom").array, read_dicom(dicom_qa / "vol_jpeg2000" / "dicom").array
    )


@pytest.mark.parametrize(
    "case",
    ["enhanced_hyperfine", "enhanced_philips", "hippocampus_crop_study1", "oblique_double"],
)
def test_volume_equals_another_converter_in_the_world(dicom_qa: Path, case: str) -> None:
    reference = nib.load(dicom_qa / case / "ref" / "volume.nii.gz")
    assert_equal_in_the_world(read_dicom(dicom_qa / case / "dicom"), reference.get_fdata(), reference.affine)


def assert_equal_in_the_world(image: Image, voxels: Any, affine: Any) -> None:
    indices = np.stack([axis.ravel() for axis in np.indices(image.geometry.shape)] + [np.ones(image.array.size)])
    there = (np.linalg.inv(affine) @ image.geometry.affine @ indices)[:3]
    assert np.abs(there - there.round()).max() < 0.02
    np.testing.assert_allclose(voxels[tuple(there.round().astype(int))], image.array.ravel(), rtol=1e-5)


@pytest.mark.parametrize("case", ["seg_liver_ct", "rtstruct_phantom"])
def test_labels_beside_a_series_are_told_and_not_misread(dicom_qa: Path, case: str) -> None:
    kinds = {info.kind for info in list_series(dicom_qa / case)}
    assert kinds == {"image", "segmentation" if case == "seg_liver_ct" else "structure set"}
    image = read_dicom(dicom_qa / case)
    np.testing.assert_array_equal(image.array, read_dicom(dicom_qa / case / "dicom").array)
    assert any("beside it" in warning for warning in image.warnings)
