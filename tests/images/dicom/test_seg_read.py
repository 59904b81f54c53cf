"""DICOM segmentations as label maps: real ones, and every kind that highdicom makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import JPEG2000Lossless, generate_uid
from scipy.spatial.transform import Rotation

from medseg.errors import ImageError
from medseg.images import Geometry, read_geometry, read_image, read_label, write_dicom_seg, write_dicom_series
from medseg.types import CodedTerm, LabelClass

HIPPOCAMPUS = LabelClass(1, "hippocampus", (230, 25, 75), CodedTerm("5366008", "SCT", "Hippocampus"))
AMYGDALA = LabelClass(2, "amygdala", (60, 180, 250))
MADE_BY = {"algorithm_name": "test", "algorithm_version": "1"}


pytestmark = pytest.mark.filterwarnings("ignore:The string")  # highdicom, of the invented patient's name


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A small oblique CT series."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (20, -10, 5), degrees=True).as_matrix() @ np.diag((0.8, 0.7, 2.5))
    affine[:3, 3] = (-12, 34, 56)
    voxels = np.zeros((7, 6, 5), np.int16)
    write_dicom_series(tmp_path / "series", voxels, Geometry(voxels.shape, affine), modality="CT")
    return tmp_path / "series"


def highdicom_seg(series: Path, pixels: np.ndarray, path: Path, **options: Any) -> Path:
    """Write `pixels` `(slice, row, column[, segment])` by highdicom, not by medseg."""
    source = sorted((pydicom.dcmread(file) for file in series.iterdir()), key=lambda each: each.InstanceNumber)
    count = pixels.shape[3] if pixels.ndim == 4 else int(pixels.max())
    described = [
        highdicom.seg.SegmentDescription(number, f"part {number}", codes.SCT.Organ, codes.SCT.Liver, "MANUAL")
        for number in range(1, count + 1)
    ]
    given = {"segmentation_type": "BINARY", "omit_empty_frames": True} | options
    seg = highdicom.seg.Segmentation(
        source_images=source,
        pixel_array=pixels,
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        **given,
    )
    seg.save_as(path)
    return path


def blocks(shape: tuple[int, int, int]) -> np.ndarray:
    """Label map `(i, j, k)` of two structures, the second on a few slices only."""
    labels = np.zeros(shape, np.uint8)
    labels[1:4, 1:5, 1:] = 1
    labels[4:6, 2:5, 2:4] = 2
    return labels


def test_written_segmentation_is_read_as_it_was(series: Path, tmp_path: Path) -> None:
    grid = read_geometry(series)
    labels = blocks(grid.shape)
    write_dicom_seg(tmp_path / "seg.dcm", labels, source=series, classes=[AMYGDALA, HIPPOCAMPUS], **MADE_BY)
    found = read_label(tmp_path / "seg.dcm", grid=grid)
    np.testing.assert_array_equal(found.array, labels)
    assert found.geometry.agrees_with(grid)
    assert found.classes[0].name == "hippocampus" and found.classes[0].code == HIPPOCAMPUS.code
    assert np.abs(np.subtract(found.classes[0].colour or (), HIPPOCAMPUS.colour or ())).max() <= 1
    assert found.format == "DICOM SEG" and not found.warnings


@pytest.mark.parametrize("empty", [[], [3]], ids=["every slice", "a slice left out"])
def test_without_image_the_smallest_grid_holds_all_frames(series: Path, tmp_path: Path, empty: list[int]) -> None:
    grid = read_geometry(series)
    labels = blocks(grid.shape)
    labels[:, :, empty] = 0
    write_dicom_seg(tmp_path / "seg.dcm", labels, source=series, classes=[HIPPOCAMPUS, AMYGDALA], **MADE_BY)
    found = read_image(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(found.array, labels[:, :, 1:])
    first = grid.affine @ (0, 0, 1, 1)
    np.testing.assert_allclose(found.geometry.affine[:3, 3], first[:3], atol=1e-3)
    np.testing.assert_allclose(found.geometry.affine[:3, :3], grid.affine[:3, :3], atol=1e-4)


def test_empty_segmentation_is_written_and_read(series: Path, tmp_path: Path) -> None:
    grid = read_geometry(series)
    write_dicom_seg(tmp_path / "a.dcm", np.zeros(grid.shape, np.uint8), source=series, classes=[AMYGDALA], **MADE_BY)
    found = read_label(tmp_path / "a.dcm", grid=grid)
    assert not found.array.any() and [each.name for each in found.classes] == ["amygdala"]


@pytest.mark.parametrize("value", [3, 300])
def test_values_of_any_size_become_segments_in_their_order(series: Path, tmp_path: Path, value: int) -> None:
    grid = read_geometry(series)
    labels = (blocks(grid.shape) > 0).astype(np.uint16) * value
    classes = [LabelClass(value, "high"), LabelClass(2, "low")]
    write_dicom_seg(tmp_path / "a.dcm", labels, source=series, classes=classes, **MADE_BY)
    found = read_label(tmp_path / "a.dcm", grid=grid)
    assert [(each.value, each.name) for each in found.classes] == [(1, "low"), (2, "high")]
    np.testing.assert_array_equal(found.array == 2, labels == value)


@pytest.mark.parametrize(("counts", "does_not", "maximum"), [(0.6, 0.4, 255), (0.5, 0.2, 2)])
def test_fractional_counts_from_one_half_on(
    series: Path, tmp_path: Path, counts: float, does_not: float, maximum: int
) -> None:
    grid = read_geometry(series)
    pixels = np.zeros(grid.shape[::-1], np.float32)
    pixels[1, 2, 3], pixels[1, 2, 4] = counts, does_not
    options = {"segmentation_type": "FRACTIONAL", "max_fractional_value": maximum}
    found = read_label(highdicom_seg(series, pixels[..., None], tmp_path / "a.dcm", **options), grid=grid)
    assert np.argwhere(found.array).tolist() == [[3, 2, 1]]
    assert found.warnings == ("a fractional segmentation (probability): voxels count from one half on",)


def test_overlapping_segments_have_a_channel_each(series: Path, tmp_path: Path) -> None:
    grid = read_geometry(series)
    pixels = np.zeros((*grid.shape[::-1], 2), np.uint8)
    pixels[1:3, 1:4, 1:4, 0] = pixels[2:4, 2:5, 2:5, 1] = 1
    found = read_label(highdicom_seg(series, pixels, tmp_path / "a.dcm"), grid=grid)
    np.testing.assert_array_equal(found.array, pixels.transpose(2, 1, 0, 3))
    assert found.warnings == ("structures overlap ('part 1' and 'part 2'), so each has a channel of its own",)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
def test_label_map_segmentation(series: Path, tmp_path: Path, syntax: str) -> None:
    grid = read_geometry(series)
    labels = blocks(grid.shape)
    path = highdicom_seg(
        series, labels.transpose(2, 1, 0), tmp_path / "a.dcm", segmentation_type="LABELMAP", transfer_syntax_uid=syntax
    )
    found = read_label(path, grid=grid)
    np.testing.assert_array_equal(found.array, labels)
    assert [(each.value, each.name) for each in found.classes] == [(1, "part 1"), (2, "part 2")]


def test_label_map_in_palette_colours(series: Path, tmp_path: Path) -> None:
    grid = read_geometry(series)
    labels = blocks(grid.shape)
    colours = highdicom.PaletteColorLUTTransformation.from_colors(
        ["black", "red", "blue"], palette_color_lut_uid=generate_uid()
    )
    options = {"segmentation_type": "LABELMAP", "palette_color_lut_transformation": colours}
    path = highdicom_seg(series, labels.transpose(2, 1, 0), tmp_path / "a.dcm", **options)
    assert pydicom.dcmread(path).PhotometricInterpretation == "PALETTE COLOR"
    np.testing.assert_array_equal(read_label(path, grid=grid).array, labels)


def test_compressed_frames_of_one_bit_are_decoded(series: Path, tmp_path: Path) -> None:
    """42 pixels a frame: no whole number of bytes, which uncompressed frames are cut at bit by bit."""
    grid = read_geometry(series)
    labels = (blocks(grid.shape) > 0).astype(np.uint8)
    path = highdicom_seg(series, labels.transpose(2, 1, 0), tmp_path / "a.dcm")
    seg = pydicom.dcmread(path)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    frames = bits[: 42 * int(seg.NumberOfFrames)].reshape(-1, seg.Rows, seg.Columns)
    options = {"level": 0, "codecformat": "j2k", "bitspersample": 1, "reversible": True}
    coded = [imagecodecs.jpeg2k_encode(np.ascontiguousarray(frame), **options) for frame in frames]
    seg.PixelData = encapsulate(coded)
    seg["PixelData"].VR, seg["PixelData"].is_undefined_length = "OB", True
    seg.file_meta.TransferSyntaxUID = JPEG2000Lossless
    seg.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(read_label(tmp_path / "b.dcm", grid=grid).array, labels)


def test_segmentation_of_a_slide_is_refused(series: Path, tmp_path: Path) -> None:
    grid = read_geometry(series)
    path = highdicom_seg(series, blocks(grid.shape).transpose(2, 1, 0), tmp_path / "a.dcm")
    seg = pydicom.dcmread(path)
    for groups in seg.PerFrameFunctionalGroupsSequence:
        del groups.PlanePositionSequence
        groups.PlanePositionSlideSequence = [pydicom.Dataset()]
    seg.save_as(path)
    with pytest.raises(ImageError, match=r"slides and pictures have no such place"):
        read_label(path, grid=grid)


def test_order_of_frames_does_not_matter(series: Path, tmp_path: Path) -> None:
    grid = read_geometry(series)
    labels = blocks(grid.shape)
    path = highdicom_seg(series, labels.transpose(2, 1, 0), tmp_path / "a.dcm")
    seg = pydicom.dcmread(path)
    order = np.random.default_rng(0).permutation(int(seg.NumberOfFrames))
    pixels = seg.pixel_array[order]
    seg.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    groups = seg.PerFrameFunctionalGroupsSequence
    seg.PerFrameFunctionalGroupsSequence = [groups[index] for index in order]
    seg.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(read_label(tmp_path / "b.dcm", grid=grid).array, labels)


@pytest.mark.parametrize(
    ("off", "message"), [(0.3, "does not lie on the voxels of its image"), (50, "lies outside of its image")]
)
def test_segmentation_of_another_series_is_refused(series: Path, tmp_path: Path, off: float, message: str) -> None:
    grid = read_geometry(series)
    write_dicom_seg(tmp_path / "a.dcm", blocks(grid.shape), source=series, classes=[HIPPOCAMPUS, AMYGDALA], **MADE_BY)
    moved = np.array(grid.affine)
    moved[:3, 3] += off * moved[:3, 0]
    with pytest.raises(ImageError, match=rf"a\.dcm: frame 1 {message}"):
        read_label(tmp_path / "a.dcm", grid=Geometry(grid.shape, moved))


@pytest.mark.parametrize("factor", [6 / 7, 1.5])
def test_segmentation_of_another_spacing_is_refused(series: Path, tmp_path: Path, factor: float) -> None:
    """Also where, as with 6 / 7, the corners of its frames happen to lie on voxels of the image."""
    grid = read_geometry(series)
    write_dicom_seg(tmp_path / "a.dcm", blocks(grid.shape), source=series, classes=[HIPPOCAMPUS, AMYGDALA], **MADE_BY)
    finer = np.array(grid.affine)
    finer[:3, 0] *= factor
    with pytest.raises(ImageError, match=r"frame 1 does not lie on the voxels of its image \(up to [1-9]\.\d\d voxels"):
        read_label(tmp_path / "a.dcm", grid=Geometry((20, *grid.shape[1:]), finer))


def test_grid_of_another_axis_order_is_served(series: Path, tmp_path: Path) -> None:
    """The image as another tool stored it: j backwards, i and j exchanged."""
    grid = read_geometry(series)
    labels = blocks(grid.shape)
    write_dicom_seg(tmp_path / "a.dcm", labels, source=series, classes=[HIPPOCAMPUS, AMYGDALA], **MADE_BY)
    turn = np.array([[0, 1, 0, 0], [-1, 0, 0, grid.shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    other = Geometry((grid.shape[1], grid.shape[0], grid.shape[2]), grid.affine @ turn)
    expected = np.flip(labels.transpose(1, 0, 2), 0)
    np.testing.assert_array_equal(read_label(tmp_path / "a.dcm", grid=other).array, expected)


def test_segments_lie_where_another_converter_put_them(data_dir: Path) -> None:
    case = data_dir / "dicom_qa" / "seg_liver_ct"
    grid = read_geometry(case / "dicom")
    liver = read_label(case / "seg" / "liver.dcm", grid=grid)
    reference = sitk.GetArrayFromImage(sitk.ReadImage(str(case / "ref" / "liver_seg.nrrd"))).transpose(2, 1, 0)
    np.testing.assert_array_equal(liver.array > 0, reference > 0)
    parts = read_label(case / "seg" / "partial_overlaps.dcm", grid=grid)
    for file in sorted((case / "ref").glob("partial_overlaps-*.nrrd")):
        reference = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).transpose(2, 1, 0)
        for value in np.unique(reference)[1:]:
            np.testing.assert_array_equal(parts.array[..., int(value) - 1] > 0, reference == value)
    assert [each.name for each in parts.classes] == ["GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE"]


@pytest.mark.parametrize("name", ["binary", "binary_fractional", "binary_overlap"])
def test_frames_of_uneven_slices_lie_at_their_positions(data_dir: Path, name: str) -> None:
    path = data_dir / "dicom_qa" / "seg_small_ct" / "seg" / f"seg_image_ct_{name}.dcm"
    found, seg = read_image(path), pydicom.dcmread(path)
    to_index = np.linalg.inv(found.geometry.affine)
    for frame, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float) * (-1, -1, 1)
        k = round((to_index @ [*place, 1])[2])
        here = found.array[..., k, number - 1] if found.array.ndim == 4 else found.array[..., k] == number
        np.testing.assert_array_equal(here > 0, frame.T > 0)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    seed=st.integers(0, 999),
)
def test_marked_voxels_come_back_to_their_place(
    tmp_path: Path, angles: tuple[float, ...], spacing: tuple[float, ...], seed: int
) -> None:
    """For any orientation: medseg writes, medseg and highdicom read the marked voxels at one place of the world."""
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = random.uniform(-300, 300, 3)
    shape = (int(random.choice([3, 8, 8, 8])), *(int(each) for each in random.integers(3, 9, 2)))
    folder = tmp_path / f"{random.integers(1 << 60)}"
    write_dicom_series(folder, np.zeros(shape, np.int16), Geometry(shape, affine), modality="MR")
    grid = read_geometry(folder)
    labels = (random.random(grid.shape) < 0.2).astype(np.uint8)
    labels.flat[0] = 1
    write_dicom_seg(folder / "seg.dcm", labels, source=folder, classes=[HIPPOCAMPUS], **MADE_BY)
    np.testing.assert_array_equal(read_label(folder / "seg.dcm", grid=grid).array, labels)
    if shape[0] * shape[1] % 8:  # pydicom 3.0.2, and highdicom with it, mix up frames that begin within a byte
        return
    volume = highdicom.seg.segread(folder / "seg.dcm").get_volume(combine_segments=True)
    lps = volume.affine @ np.vstack([np.argwhere(volume.array).T, np.ones(int(volume.array.sum()))])
    index = np.linalg.inv(grid.affine) @ (lps * np.array([-1, -1, 1, 1])[:, None])
    assert np.abs(index - np.rint(index)).max() < 0.02
    found = np.zeros(grid.shape, np.uint8)
    found[tuple(np.rint(index[:3]).astype(int))] = 1
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("damage", ["cut", "no segments", "no positions", "unknown segment"])
def test_damaged_segmentation_is_one_line(series: Path, tmp_path: Path, damage: str) -> None:
    grid = read_geometry(series)
    path = tmp_path / "a.dcm"
    write_dicom_seg(path, blocks(grid.shape), source=series, classes=[HIPPOCAMPUS, AMYGDALA], **MADE_BY)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        seg = pydicom.dcmread(path)
        if damage == "no segments":
            del seg.SegmentSequence
        for groups in seg.PerFrameFunctionalGroupsSequence:
            if damage == "no positions":
                del groups.PlanePositionSequence
            if damage == "unknown segment":
                groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9
        seg.save_as(path)
    with pytest.raises(ImageError, match=rf"^{path}: [^\n]+$"):
        read_label(path, grid=grid)


def test_written_object_tells_of_no_more_than_the_study(series: Path, tmp_path: Path) -> None:
    grid = read_geometry(series)
    write_dicom_seg(tmp_path / "a.dcm", blocks(grid.shape), source=series, classes=[HIPPOCAMPUS, AMYGDALA], **MADE_BY)
    seg = pydicom.dcmread(tmp_path / "a.dcm")
    assert (seg.PatientID, seg.StudyInstanceUID) == ("PHANTOM", pydicom.dcmread(series / "001.dcm").StudyInstanceUID)
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("test", "1")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.dcm"]
