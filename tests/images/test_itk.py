"""NRRD and MetaImage: the same place in every spelling of a header, and damage named."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import SimpleITK as sitk

from medseg.errors import ImageError, OutputError
from medseg.images import Geometry, read_geometry, read_image, write_labels, write_volume
from medseg.images.itk import _ONE_AT_A_TIME, is_itk, read_itk, write_itk
from medseg.types import LabelClass

GRID = Geometry((4, 3, 2), np.array([[2.0, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]))
VOXELS = np.arange(24, dtype=np.int16).reshape(4, 3, 2) - 5


def nrrd(path: Path, *lines: str, voxels: bytes | None = None, sizes: str = "4 3 2", kind: str = "short") -> Path:
    dims = len(sizes.split())
    head = ["NRRD0005", f"type: {kind}", f"dimension: {dims}", f"sizes: {sizes}", "encoding: raw", "endian: little"]
    data = VOXELS.tobytes(order="F") if voxels is None else voxels
    path.write_bytes("\n".join([*head, *lines, "", ""]).encode() + data)
    return path


@pytest.mark.parametrize(
    ("space", "directions", "origin"),
    [
        ("right-anterior-superior", "(2,0,0) (0,3,0) (0,0,4)", "(10,20,30)"),
        ("RAS", "(2,0,0) (0,3,0) (0,0,4)", "(10,20,30)"),
        ("left-posterior-superior", "(-2,0,0) (0,-3,0) (0,0,4)", "(-10,-20,30)"),
        ("LPS", "(-2,0,0) (0,-3,0) (0,0,4)", "(-10,-20,30)"),
        ("left-anterior-superior", "(-2,0,0) (0,3,0) (0,0,4)", "(-10,20,30)"),
    ],
)
def test_every_world_of_nrrd_gives_one_place(tmp_path: Path, space: str, directions: str, origin: str) -> None:
    lines = f"space: {space}", f"space directions: {directions}", f"space origin: {origin}"
    image = read_image(nrrd(tmp_path / "a.nrrd", *lines))
    assert image.geometry.agrees_with(GRID), image.geometry.difference(GRID)
    assert read_geometry(tmp_path / "a.nrrd").agrees_with(GRID)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert (image.format, image.warnings, image.spatial_dims) == ("NRRD", (), 3)


def test_a_world_without_sides_is_refused_and_none_warned_of(tmp_path: Path) -> None:
    lines = "space directions: (2,0,0) (0,3,0) (0,0,4)", "space origin: (0,0,0)"
    with pytest.raises(ImageError, match=r"a\.nrrd: its world is 'scanner-xyz', which tells no side"):
        read_image(nrrd(tmp_path / "a.nrrd", "space: scanner-xyz", *lines))
    image = read_image(nrrd(tmp_path / "a.nrrd", "spacings: 2 3 4"))
    assert image.geometry.spacing == (2, 3, 4)
    assert len(image.warnings) == 1 and "no 'space'" in image.warnings[0]


def test_lengths_in_micrometres_are_converted(tmp_path: Path) -> None:
    lines = ["space: RAS", "space directions: (2000,0,0) (0,3000,0) (0,0,4000)", "space origin: (10000,20000,30000)"]
    image = read_image(nrrd(tmp_path / "a.nrrd", *lines, 'space units: "um" "um" "um"'))
    assert image.geometry.agrees_with(GRID)
    assert image.warnings == ("lengths are in um and were converted to mm",)
    with pytest.raises(ImageError, match="lengths are in furlong"):
        read_image(nrrd(tmp_path / "a.nrrd", *lines, 'space units: "furlong" "furlong" "furlong"'))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_channels_types_and_pictures_come_back(tmp_path: Path, suffix: str) -> None:
    for dtype in (np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64, bool):
        voxels = (VOXELS > 2).astype(dtype)
        write_volume(tmp_path / f"a{suffix}", voxels, GRID)
        image = read_image(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(image.array, voxels)
        assert image.geometry.agrees_with(GRID)
    channels = np.stack([VOXELS, VOXELS * 2], -1)
    write_volume(tmp_path / f"c{suffix}", channels, GRID)
    np.testing.assert_array_equal(read_image(tmp_path / f"c{suffix}").array, channels)
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS[:, :, 0]), str(tmp_path / f"p{suffix}"))
    picture = read_image(tmp_path / f"p{suffix}")
    assert (picture.array.shape, picture.spatial_dims) == ((3, 4, 1), 2)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_four_axes_end_in_channels(tmp_path: Path, suffix: str) -> None:
    four = np.arange(48, dtype=np.int16).reshape(2, 2, 3, 4)  # (t, k, j, i)
    sitk.WriteImage(sitk.GetImageFromArray(four, isVector=False), str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").array, four.transpose(3, 2, 1, 0))


def test_labels_are_written_compressed_in_the_smallest_type(tmp_path: Path) -> None:
    labels = np.zeros((4, 3, 2))
    labels[1, 2, 0] = 2
    for name in ("a.nrrd", "a.mha"):
        write_labels(tmp_path / name, labels, GRID)
        image = read_image(tmp_path / name)
        assert image.array.dtype == np.uint8
        np.testing.assert_array_equal(image.array, labels)
    assert b"encoding: gzip" in (tmp_path / "a.nrrd").read_bytes()
    assert b"CompressedData = True" in (tmp_path / "a.mha").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_content_decides_and_not_the_name(tmp_path: Path, suffix: str) -> None:
    write_itk(tmp_path / f"a{suffix}", VOXELS, GRID)
    (tmp_path / f"a{suffix}").rename(tmp_path / "a.png")
    assert is_itk(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array, VOXELS)
    (tmp_path / f"b{suffix}").write_text("neither one nor the other")
    assert not is_itk(tmp_path / f"b{suffix}")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nhdr", ".mhd"])
def test_a_grid_is_read_from_the_header_alone(tmp_path: Path, suffix: str) -> None:
    """Compressed voxels are not looked at: that takes as long as reading them."""
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 999, (20, 30, 10)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    voxels = next((each for each in tmp_path.iterdir() if each != path), path)
    damaged = bytearray(voxels.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    voxels.write_bytes(damaged)
    assert read_geometry(path).shape == (10, 30, 20)
    with pytest.raises(ImageError, match=rf"a\{suffix}: .*damaged"):
        read_image(path)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_truncated_and_damaged_voxels_are_refused(
    tmp_path: Path, suffix: str, compressed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 999, (20, 30, 10)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=compressed)
    content = path.read_bytes()
    for part in (0.99, 0.5, 0.1):
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(ImageError, match=rf"a\{suffix}: (truncated|damaged)[^\n]*$"):
            read_image(path)
    if compressed:
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(ImageError, match=r"damaged"):
            read_image(path)
    assert capfd.readouterr().err == ""


def test_huge_sizes_take_no_memory(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="truncated: its header tells of 2000000000000 bytes"):
        read_image(nrrd(tmp_path / "a.nrrd", "spacings: 1 1 1", sizes="10000 10000 10000"))
    with pytest.raises(ImageError, match="damaged header: axes of lengths"):
        read_image(nrrd(tmp_path / "a.nrrd", "spacings: 1 1 1", sizes="10 -1 1"))


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_detached_voxels_are_found_missed_and_kept_inside_the_folder(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "in" / f"a{suffix}"
    path.parent.mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    image = read_image(path)
    np.testing.assert_array_equal(image.array, VOXELS.T)
    voxels = image.files[1]
    assert voxels.parent == path.parent and voxels.suffix in (".raw", ".zraw", ".gz")
    header = path.read_text()
    path.write_text(header.replace(voxels.name, f"../{voxels.name}"))
    voxels.rename(tmp_path / voxels.name)
    with pytest.raises(ImageError, match=r"outside its folder; put them beside it"):
        read_image(path)
    path.write_text(header)
    with pytest.raises(ImageError, match=rf"its voxels are missing: no file '{voxels.name}'"):
        read_image(path)


def test_voxels_in_a_list_of_files_are_read_and_each_is_checked(tmp_path: Path) -> None:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementSpacing = 2 3 4\n"
    head += "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementDataFile = "
    for k in range(2):
        (tmp_path / f"{k}.raw").write_bytes(VOXELS[:, :, k].tobytes(order="F"))
    path = tmp_path / "a.mhd"
    path.write_text(head + "LIST\n0.raw\n1.raw\n")
    image = read_image(path)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert [each.name for each in image.files] == ["a.mhd", "0.raw", "1.raw"]
    for names, message in (
        ("LIST\n0.raw\n../1.raw\n", "outside"),
        ("LIST\n0.raw\n2.raw\n", "missing: no file '2.raw'"),
    ):
        path.write_text(head + names)
        with pytest.raises(ImageError, match=message):
            read_image(path)
    path.write_text(head + "%d.raw 0 1 1\n")
    with pytest.raises(ImageError, match="by a pattern"):
        read_image(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forking beside threads: what is tested
def test_child_that_is_forked_during_reading_reads_and_has_its_stderr(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.mha", np.zeros((64, 64, 64), np.int16), Geometry((64, 64, 64), np.eye(4)))
    stop = Event()

    def read_on() -> None:
        while not stop.is_set():
            read_image(tmp_path / "a.mha")

    reading, stderr = Thread(target=read_on), os.fstat(2)
    reading.start()
    try:
        for _ in range(30):
            child = os.fork()
            if child == 0:
                right = os.path.samestat(os.fstat(2), stderr) and _ONE_AT_A_TIME.acquire(timeout=5)
                os._exit(0 if right else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        reading.join()


def test_names_beyond_ascii(tmp_path: Path) -> None:
    path = tmp_path / "Schädel größer 肺" / "Übersicht.nrrd"
    write_volume(path, VOXELS, GRID)
    np.testing.assert_array_equal(read_image(path).array, VOXELS)


def test_nan_complex_and_five_axes_are_refused(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0, 0] = np.nan
    write_volume(tmp_path / "a.nrrd", voxels, GRID)
    with pytest.raises(ImageError, match=r"a\.nrrd: 1 voxels are NaN"):
        read_image(tmp_path / "a.nrrd")
    with pytest.raises(ImageError, match=r"has 5 axes|damaged header"):
        read_image(nrrd(tmp_path / "b.nrrd", "spacings: 1 1 1 1 1", sizes="2 2 3 2 1"))


SEGMENTS = (
    "space: LPS",
    "Segment0_Name:=Left kidney",
    "Segment0_LabelValue:=1",
    "Segment0_Color:=1 0.5 0",
    "Segment0_Layer:=0",
    "Segment1_Name:=Tumour: left",
    "Segment1_LabelValue:=1",
    "Segment1_Layer:=1",
)


def test_segments_of_3d_slicer_are_classes(tmp_path: Path) -> None:
    lines = "space directions: (2,0,0) (0,3,0) (0,0,4)", "space origin: (0,0,0)"
    labels = (VOXELS > 3).astype(np.int16)
    image = read_image(nrrd(tmp_path / "a.seg.nrrd", *SEGMENTS[:5], *lines, voxels=labels.tobytes(order="F")))
    assert image.classes == (LabelClass(1, "Left kidney", (255, 128, 0)),)
    np.testing.assert_array_equal(image.array, labels)


@pytest.mark.parametrize("line", ["Segment0_LabelValue:=1.0", "Segment0_Color:=1 red 0"])
def test_segment_whose_number_is_none_is_named(tmp_path: Path, line: str) -> None:
    segments = [each for each in SEGMENTS[:5] if not each.startswith(line.split(":=")[0])]
    lines = "space directions: (2,0,0) (0,3,0) (0,0,4)", "space origin: (0,0,0)", line
    with pytest.raises(ImageError, match=r"a\.seg\.nrrd: a number of a segment cannot be read"):
        read_image(nrrd(tmp_path / "a.seg.nrrd", *segments, *lines))


def test_overlapping_segments_are_a_channel_each(tmp_path: Path) -> None:
    lines = ["space directions: none (2,0,0) (0,3,0) (0,0,4)", "space origin: (0,0,0)"]
    lines.append("kinds: list domain domain domain")
    layers = np.stack([VOXELS > 3, VOXELS > 6]).astype(np.int16)
    path = nrrd(tmp_path / "a.seg.nrrd", *SEGMENTS, *lines, voxels=layers.tobytes(order="F"), sizes="2 4 3 2")
    image = read_image(path)
    assert [(each.value, each.name) for each in image.classes] == [(1, "Left kidney"), (2, "Tumour: left")]
    np.testing.assert_array_equal(image.array, np.moveaxis(layers, 0, -1))
    assert image.geometry.spacing == (2, 3, 4)


def test_segments_that_share_a_layer_are_told_apart_by_their_values(tmp_path: Path) -> None:
    lines = ["space directions: none (2,0,0) (0,3,0) (0,0,4)", "space origin: (0,0,0)"]
    lines.append("kinds: list domain domain domain")
    cyst = ["Segment2_Name:=Cyst", "Segment2_LabelValue:=2", "Segment2_Layer:=0"]
    shared = np.where(VOXELS > 6, 2, VOXELS > 3)
    voxels = np.stack([shared, VOXELS > 5]).astype(np.int16).tobytes(order="F")
    image = read_image(nrrd(tmp_path / "a.seg.nrrd", *SEGMENTS, *cyst, *lines, voxels=voxels, sizes="2 4 3 2"))
    assert [each.name for each in image.classes] == ["Left kidney", "Tumour: left", "Cyst"]
    np.testing.assert_array_equal(image.array, np.stack([shared == 1, VOXELS > 5, shared == 2], axis=-1))


def test_without_simpleitk_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_itk(tmp_path / "a.nrrd", VOXELS, GRID)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(ImageError, match=r"a\.nrrd: NRRD is read by SimpleITK: pip install SimpleITK"):
        read_itk(tmp_path / "a.nrrd")
    with pytest.raises(OutputError, match="pip install SimpleITK"):
        write_itk(tmp_path / "b.nrrd", VOXELS, GRID)


def test_real_segmentations_agree_with_itk(data_dir: Path) -> None:
    for path in sorted((data_dir / "dicom_qa" / "seg_liver_ct" / "ref").glob("*.nrrd")):
        image, theirs = read_image(path), sitk.ReadImage(str(path))
        np.testing.assert_array_equal(image.array, sitk.GetArrayFromImage(theirs).transpose(2, 1, 0))
        left, back, up = theirs.TransformIndexToPhysicalPoint((100, 200, 2))
        np.testing.assert_allclose((image.geometry.affine @ [100, 200, 2, 1])[:3], (-left, -back, up), atol=1e-6)
