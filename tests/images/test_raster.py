"""Pictures of every kind, sample for sample, with rows, columns and spacing where they belong."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Pillow
from PIL import ImageOps, PngImagePlugin

from medseg.errors import ImageError, OutputError
from medseg.images import Geometry, read_geometry, read_image, write_labels, write_volume
from medseg.images.raster import is_raster, read_raster
from medseg.images.raster_write import write_raster
from medseg.types import LabelClass

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)  # 5 rows of 7 columns
COLOUR = RNG.integers(0, 256, (5, 7, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7, 3), np.uint16)


def rows(path: Path) -> Any:
    """The pixels as rows and columns, as a person sees them."""
    array = read_image(path).array
    assert array.shape[2] == 1
    return np.moveaxis(array[:, :, 0], 0, 1)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.gif", "a.tif"])
def test_column_is_i_and_row_is_j(tmp_path: Path, name: str) -> None:
    Pillow.fromarray(GREY).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.array.shape == (7, 5, 1)
    assert image.array[6, 1, 0] == GREY[1, 6]
    np.testing.assert_array_equal(rows(tmp_path / name), GREY)
    assert (image.spatial_dims, image.geometry.spacing, image.warnings) == (2, (1, 1, 1), ())
    assert image.format == {"png": "PNG", "bmp": "BMP", "gif": "GIF", "tif": "TIFF"}[name[2:]]
    assert read_geometry(tmp_path / name).agrees_with(image.geometry)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_colours_are_the_last_axis(tmp_path: Path, name: str) -> None:
    Pillow.fromarray(COLOUR).save(tmp_path / name)
    np.testing.assert_array_equal(rows(tmp_path / name), COLOUR)


def test_picture_lies_where_itk_puts_it(tmp_path: Path) -> None:
    Pillow.fromarray(GREY).save(tmp_path / "a.png")
    image, theirs = read_image(tmp_path / "a.png"), sitk.ReadImage(str(tmp_path / "a.png"))
    x, y = theirs.TransformIndexToPhysicalPoint((6, 1))
    np.testing.assert_allclose((image.geometry.affine @ [6, 1, 0, 1])[:3], (-x, -y, 0))
    assert theirs[6, 1] == image.array[6, 1, 0]


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    Pillow.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(rows(tmp_path / "a.jpg"), GREY)
    (tmp_path / "b.bmp").write_text("BMI of every patient, and this is only a text")
    assert not is_raster(tmp_path / "b.bmp")


# PNG


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_samples_of_few_bits_are_as_stored(tmp_path: Path, bits: int) -> None:
    samples = RNG.integers(0, 2**bits, (4, 8), np.uint8)
    shifts = np.arange(8 // bits - 1, -1, -1) * bits
    packed = (samples.reshape(4, -1, 8 // bits) << shifts).sum(axis=2).astype(np.uint8)
    content = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", 8, 4, bits, 0, 0, 0, 0)
    png(tmp_path / "a.png", header, (b"IDAT", zlib.compress(content)))
    np.testing.assert_array_equal(rows(tmp_path / "a.png"), samples)


def png(path: Path, header: bytes, *chunks: tuple[bytes, bytes]) -> None:
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def test_16_bits_stay_16_bits_in_grey_and_in_colour(tmp_path: Path) -> None:
    for name, samples in (("grey.png", DEEP[..., 0].copy()), ("colour.png", DEEP)):
        (tmp_path / name).write_bytes(imagecodecs.png_encode(samples))
        read = rows(tmp_path / name)
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, samples)


def test_palette_gives_colours_or_grey_values(tmp_path: Path) -> None:
    indices = RNG.integers(0, 3, (5, 7), np.uint8)
    for name, colours in (
        ("colour", [(0, 0, 0), (255, 0, 0), (0, 9, 200)]),
        ("grey", [(0,) * 3, (128,) * 3, (255,) * 3]),
    ):
        image = Pillow.fromarray(indices)
        image.putpalette(np.array(colours, np.uint8).ravel().tolist())
        for suffix in ("png", "gif", "bmp"):
            image.save(tmp_path / f"{name}.{suffix}")
            expected = np.array(colours)[indices] if name == "colour" else np.array(colours)[indices][..., 0]
            np.testing.assert_array_equal(rows(tmp_path / f"{name}.{suffix}"), expected)


def test_transparency_is_left_out_with_a_warning_where_it_shows(tmp_path: Path) -> None:
    alpha = np.full((5, 7, 1), 255, np.uint8)
    for samples, shape in (
        (np.concatenate([COLOUR, alpha], 2), (7, 5, 1, 3)),
        (np.stack([GREY, GREY * 0 + 255], 2), (7, 5, 1)),
    ):
        Pillow.fromarray(samples).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").array.shape == shape
        assert read_image(tmp_path / "a.png").warnings == ()
    alpha[0, :3] = 7
    Pillow.fromarray(np.concatenate([COLOUR, alpha], 2)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(np.moveaxis(image.array[:, :, 0], 0, 1), COLOUR)
    assert image.warnings == ("3 pixels are transparent; their colour was taken as stored",)


@pytest.mark.parametrize(
    ("dpi", "spacing"),
    [(72, 1), (96, 1), (300, 1), (600, 1), (254, 0.1), (25400, 0.001), (1, 1)],
)
def test_resolution_is_spacing_unless_it_is_a_default_of_screens_and_printers(
    tmp_path: Path, dpi: int, spacing: float
) -> None:
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp"):
        Pillow.fromarray(GREY).save(tmp_path / name, dpi=(dpi, dpi))
        np.testing.assert_allclose(read_geometry(tmp_path / name).spacing[:2], spacing, rtol=1e-3)


# JPEG


def test_exif_orientation_turns_the_picture_and_its_spacing(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(16) * 10, np.arange(24) * 3).astype(np.uint8)
    for orientation in range(1, 9):
        exif = Pillow.Exif()
        exif[274] = orientation
        path = tmp_path / f"{orientation}.jpg"
        Pillow.fromarray(ramp).save(path, exif=exif, quality=100, dpi=(254, 127))
        with Pillow.open(path) as theirs:
            upright = np.array(ImageOps.exif_transpose(theirs))
        image = read_image(path)
        np.testing.assert_array_equal(np.moveaxis(image.array[:, :, 0], 0, 1), upright)
        assert len(image.warnings) == (orientation > 1)
        x, y = (0.2, 0.1) if orientation >= 5 else (0.1, 0.2)
        np.testing.assert_allclose(image.geometry.spacing, (x, y, 1), rtol=1e-3)
        assert read_geometry(path).agrees_with(image.geometry)


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Pillow.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=r"a\.jpg: its pixels are CMYK; save it as RGB"):
        read_image(tmp_path / "a.jpg")


# GIF


def test_several_frames_are_refused(tmp_path: Path) -> None:
    frames = [Pillow.fromarray(GREY), Pillow.fromarray(255 - GREY)]
    for name in ("a.gif", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        for read in (read_image, read_geometry):
            with pytest.raises(ImageError, match="holds 2 frames"):
                read(tmp_path / name)


# TIFF


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "jpeg", "zstd"])
@pytest.mark.parametrize(
    "options", [{}, {"tile": (16, 16)}, {"bigtiff": True}, {"byteorder": ">"}, {"rowsperstrip": 1}]
)
def test_tiff_of_every_compression_and_layout(tmp_path: Path, compression: str | None, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb", compression=compression, **options)
    read = rows(tmp_path / "a.tif")
    if compression == "jpeg":
        np.testing.assert_array_equal(read, tifffile.imread(tmp_path / "a.tif"))
    else:
        np.testing.assert_array_equal(read, COLOUR)


def test_resolution_of_a_tiff_may_be_in_centimetres_and_another_across_than_down(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(40, 20), resolutionunit="CENTIMETER", metadata=None)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").geometry.spacing, (0.25, 0.5, 1))


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8"])
def test_tiff_of_every_type(tmp_path: Path, dtype: str) -> None:
    samples = (GREY > 99).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack")
    np.testing.assert_array_equal(rows(tmp_path / "a.tif"), samples)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([samples] * 3), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(rows(tmp_path / "a.tif"), np.stack([samples] * 3, 2))


def test_white_stored_as_zero_is_inverted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(rows(tmp_path / "a.tif"), 255 - GREY)
    assert "inverted" in read_image(tmp_path / "a.tif").warnings[0]
    tifffile.imwrite(tmp_path / "b.tif", GREY > 99, photometric="miniswhite")
    np.testing.assert_array_equal(rows(tmp_path / "b.tif"), GREY <= 99)


def test_tiff_palette_gives_colours(tmp_path: Path) -> None:
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=table * 257)
    np.testing.assert_array_equal(rows(tmp_path / "a.tif"), table.T[GREY])


def test_equal_pages_are_slices_and_others_refused(tmp_path: Path) -> None:
    pages = RNG.integers(0, 256, (3, 5, 7), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, metadata=None)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array, pages.transpose(2, 1, 0))
    assert image.spatial_dims == 3
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(GREY, metadata=None)
        file.write(GREY[:3], metadata=None)
    with pytest.raises(ImageError, match=r"b\.tif: holds 2 pictures of different sizes or types \(5 x 7, 3 x 7\)"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("imagej", [False, True])
def test_pages_are_named_from_1_and_are_pictures(tmp_path: Path, imagej: bool) -> None:
    pages = RNG.integers(0, 256, (3, 5, 7), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, imagej=imagej, photometric="minisblack", metadata={"axes": "ZYX"})
    for number, page in enumerate(pages, 1):
        named = f"{tmp_path}/a.tif::{number}"
        image = read_image(named)
        np.testing.assert_array_equal(image.array[:, :, 0], page.T)
        assert (image.spatial_dims, str(image.path)) == (2, named)
        assert read_geometry(named).agrees_with(image.geometry)
    for read in (read_image, read_geometry):
        for wrong in ("0", "4", "x"):
            with pytest.raises(ImageError, match=rf"a\.tif: no page '{wrong}' in it; take a number from 1 to 3$"):
                read(f"{tmp_path}/a.tif::{wrong}")


def test_a_part_of_a_file_that_has_none_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), np.eye(4)))
    with pytest.raises(ImageError, match=r"a\.nii\.gz: holds neither series nor pages; leave '::2' out$"):
        read_image(f"{tmp_path}/a.nii.gz::2")


def test_imagej_and_ome_tell_spacing_slices_and_channels(tmp_path: Path) -> None:
    volume = RNG.integers(0, 256, (4, 5, 7), np.uint8)
    metadata = {"axes": "ZYX", "spacing": 2.5, "unit": "um"}
    tifffile.imwrite(tmp_path / "j.tif", volume, imagej=True, resolution=(2, 4), metadata=metadata)
    image = read_image(tmp_path / "j.tif")
    np.testing.assert_array_equal(image.array, volume.transpose(2, 1, 0))
    np.testing.assert_allclose(image.geometry.spacing, (0.0005, 0.00025, 0.0025))
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25, "PhysicalSizeZ": 0.002}
    metadata = {"axes": "ZCYX", **sizes, "PhysicalSizeZUnit": "mm"}
    channels = np.stack([volume, 255 - volume], 1)
    tifffile.imwrite(tmp_path / "o.ome.tif", channels, metadata=metadata, photometric="minisblack")
    image = read_image(tmp_path / "o.ome.tif")
    np.testing.assert_array_equal(image.array, channels.transpose(3, 2, 0, 1))
    np.testing.assert_allclose(image.geometry.spacing, (0.0005, 0.00025, 0.002))
    assert read_geometry(tmp_path / "o.ome.tif").agrees_with(image.geometry)


def test_time_points_are_slices_with_a_warning_and_refused_beside_slices(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 3), imagej=True, metadata={"axes": "TYX"})
    assert read_image(tmp_path / "a.tif").warnings == ("time points taken as slices",)
    tifffile.imwrite(tmp_path / "b.tif", np.stack([[GREY] * 2] * 3), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ImageError, match=r"b\.tif: has axes TZYX"):
        read_image(tmp_path / "b.tif")


def test_tiff_orientation_transparency_and_cmyk(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=[(274, 3, 1, 3, True)])
    np.testing.assert_array_equal(rows(tmp_path / "a.tif"), GREY[::-1, ::-1])
    rgba = np.concatenate([COLOUR, COLOUR[..., :1]], 2)
    tifffile.imwrite(tmp_path / "b.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    assert "transparent" in read_image(tmp_path / "b.tif").warnings[0]
    np.testing.assert_array_equal(rows(tmp_path / "b.tif"), COLOUR)
    tifffile.imwrite(tmp_path / "c.tif", rgba, photometric="separated")
    with pytest.raises(ImageError, match=r"c\.tif: its colours are of kind .*; save it as RGB"):
        read_image(tmp_path / "c.tif")


def test_nan_and_complex_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[1, np.nan], [np.inf, 2]], np.float32))
    with pytest.raises(ImageError, match=r"a\.tif: 2 voxels are NaN, infinite"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.ones((3, 3), np.complex64))
    with pytest.raises(ImageError, match="type complex64"):
        read_image(tmp_path / "b.tif")


# Damage


def save(path: Path, samples: Any) -> bytes:
    if path.suffix == ".tif":
        tifffile.imwrite(path, samples, compression="lzw" if path.stem == "lzw" else None, photometric="minisblack")
    else:
        Pillow.fromarray(samples).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.tif", "lzw.tif", "pages.tif"])
def test_truncated_files_are_refused(tmp_path: Path, name: str) -> None:
    noise = RNG.integers(0, 256, (3, 64, 64) if name == "pages.tif" else (64, 64), np.uint8)
    content = save(tmp_path / name, noise)
    for part in (0.03, 0.1, 0.5, 0.9, 0.98):
        (tmp_path / name).write_bytes(content[: int(len(content) * part)])
        with pytest.raises(ImageError, match=rf"{name}: [^\n]*$"):
            read_image(tmp_path / name)


def test_list_of_pages_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RNG.integers(0, 256, (3, 5, 7), np.uint8), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as file:
        last = file.pages[2].offset
    path.write_bytes(path.read_bytes()[: last + 4])
    with pytest.raises(ImageError, match=r"a\.tif: truncated"):
        read_image(path)


@pytest.mark.parametrize("tag", ["StripOffsets", "StripByteCounts"])
def test_missing_strip_is_refused(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, compression="zlib", rowsperstrip=5)
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags[tag].valueoffset
    content = bytearray(path.read_bytes())
    content[place : place + 2] = bytes(2)
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.tif: truncated TIFF: part of its pixels is missing"):
        read_image(path)


def test_bombs_are_refused(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    png(tmp_path / "a.png", header, (b"IDAT", zlib.compress(b"\0" * 9999)))
    with pytest.raises(ImageError, match=r"a\.png: too large for a PNG picture"):
        read_image(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((256, 256), np.uint8), compression="zlib", tile=(256, 256))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        for tag in ("ImageWidth", "ImageLength"):
            struct.pack_into("<I", content, file.pages[0].tags[tag].valueoffset, 60000)
    (tmp_path / "b.tif").write_bytes(content)
    with pytest.raises(ImageError, match=r"b\.tif: "):
        read_image(tmp_path / "b.tif")


def test_text_bomb_and_foreign_notes_are_no_harm(tmp_path: Path) -> None:
    for text in ("{", '{"medseg": 3}', '{"medseg": {"classes": [{}]}}', "[" * 100_000):
        info = PngImagePlugin.PngInfo()
        info.add_text("medseg", text)
        Pillow.fromarray(GREY).save(tmp_path / "a.png", pnginfo=info)
        image = read_image(tmp_path / "a.png")
        assert image.classes == ()
        np.testing.assert_array_equal(np.moveaxis(image.array[:, :, 0], 0, 1), GREY)


def test_spacing_that_no_grid_can_have_is_refused(tmp_path: Path) -> None:
    options = {"imagej": True, "resolution": (1e9, 1e9), "metadata": {"axes": "ZYX", "spacing": 1e-9, "unit": "nm"}}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 2), **options)
    for read in (read_image, read_geometry):
        with pytest.raises(ImageError, match=r"a\.tif: spacing .* mend its header"):
            read(tmp_path / "a.tif")


# Writing

OBLIQUE = np.array([[0.3, 0.02, 0.1, -50], [-0.02, 0.4, 0.2, 12], [0.01, -0.1, 2.5, 700], [0, 0, 0, 1]])


@given(st.data())
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_what_we_write_comes_back_on_its_grid(tmp_path_factory: pytest.TempPathFactory, suffix: str, data: Any) -> None:
    depth = 1 if suffix == ".png" else data.draw(st.integers(1, 3))
    shape = (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)), depth)
    channels = data.draw(st.sampled_from([(), (3,), (4,)]))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16] + ([np.int16, np.float32] if suffix == ".tif" else [])))
    voxels = data.draw(arrays(dtype, shape + channels, elements=st.integers(0, 200)))
    if channels == (4,):
        voxels[..., 3] = np.iinfo(dtype).max if dtype != np.float32 else 1
    path = tmp_path_factory.mktemp("written") / f"a{suffix}"
    grid = Geometry(shape, OBLIQUE)
    write_raster(path, voxels, grid)
    image = read_raster(path)
    is_alpha = channels == (4,) and dtype in (np.uint8, np.uint16)
    np.testing.assert_array_equal(image.array, voxels[..., :3] if is_alpha else voxels)
    assert image.array.dtype == voxels.dtype
    assert image.geometry.agrees_with(grid, tolerance_mm=1e-9) and read_geometry(path).agrees_with(grid)
    if suffix == ".png":
        with Pillow.open(path) as theirs:
            assert theirs.size == shape[:2]
    else:
        theirs = tifffile.imread(path).reshape(shape[::-1] + channels)
        np.testing.assert_array_equal(np.moveaxis(theirs, (0, 1, 2), (2, 1, 0)), voxels)


def test_labels_are_drawn_in_their_colours_and_come_back_as_labels(tmp_path: Path) -> None:
    classes = (LabelClass(1, "artery", (255, 0, 0)), LabelClass(2, "vein", (0, 0, 255)), LabelClass(7, "unknown"))
    labels = np.array([[[0], [1]], [[2], [7]]])
    grid = Geometry((2, 2, 1), np.diag([-0.5, -0.5, 1, 1.0]))
    for name in ("a.png", "a.tif"):
        write_labels(tmp_path / name, labels, grid, classes=classes)
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, labels)
        assert (image.classes, image.array.dtype) == (classes, np.uint8)
        with Pillow.open(tmp_path / name) as theirs:
            seen = np.array(theirs.convert("RGB"))
        assert (
            seen[0, 0].tolist() == [0, 0, 0]
            and seen[1, 0].tolist() == [255, 0, 0]
            and seen[0, 1].tolist() == [0, 0, 255]
        )
        assert seen[1, 1].any()


def test_labels_above_255_keep_values_and_classes(tmp_path: Path) -> None:
    labels = np.array([[[0], [300]]])
    for name in ("a.png", "a.tif"):
        write_labels(tmp_path / name, labels, Geometry((1, 2, 1), np.eye(4)), classes=[LabelClass(300, "rib")])
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, labels)
        assert image.classes == (LabelClass(300, "rib"),)


def test_a_note_is_not_believed_of_a_picture_that_was_cropped(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.png", GREY[..., None], Geometry((5, 7, 1), OBLIQUE))
    with Pillow.open(tmp_path / "a.png") as image:
        info = PngImagePlugin.PngInfo()
        info.add_text("medseg", image.text["medseg"])
        image.crop((0, 0, 3, 3)).save(tmp_path / "b.png", pnginfo=info)
    np.testing.assert_array_equal(read_geometry(tmp_path / "b.png").affine, np.diag([-1, -1, 1, 1]))


def test_labels_that_another_program_saved_anew_are_colours_again(tmp_path: Path) -> None:
    classes = (LabelClass(3, "artery", (255, 0, 0)), LabelClass(9, "vein", (0, 0, 255)))
    labels = np.full((4, 4, 1), 9)
    labels[0] = 3
    write_labels(tmp_path / "a.png", labels, Geometry((4, 4, 1), np.eye(4)), classes=classes)
    with Pillow.open(tmp_path / "a.png") as image:
        info = PngImagePlugin.PngInfo()
        info.add_text("medseg", image.text["medseg"])
        image.remap_palette([3, 9]).save(tmp_path / "b.png", pnginfo=info)
        image.convert("L").save(tmp_path / "c.png", pnginfo=info)
    for name, channels in (("b.png", (3,)), ("c.png", ())):
        read = read_image(tmp_path / name)
        assert (read.array.shape, read.classes) == ((4, 4, 1, *channels), ())


def test_other_programs_see_the_spacing(tmp_path: Path) -> None:
    grid = Geometry((7, 5, 3), np.diag([-0.25, -0.5, 2.0, 1]))
    volume = np.zeros(grid.shape, np.uint8)
    write_volume(tmp_path / "a.tif", volume, grid)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.imagej_metadata["spacing"] == 0.2 and file.imagej_metadata["unit"] == "cm"
        assert file.pages[0].tags["XResolution"].value == (40, 1)
    write_volume(tmp_path / "a.png", volume[:, :, :1], Geometry((7, 5, 1), grid.affine))
    with Pillow.open(tmp_path / "a.png") as theirs:
        np.testing.assert_allclose(theirs.info["dpi"], (101.6, 50.8))


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((4, 4, 2), "u1", "PNG holds one slice, not 2"),
        ((4, 4, 1), "f4", "not float32; write .tif"),
        ((4, 4, 1), "i2", "not int16"),
        ((4, 4, 1, 2), "u1", "not uint8 in 2 channels"),
    ],
)
def test_what_png_cannot_hold_is_named_and_nothing_is_left(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        write_raster(tmp_path / "a.png", np.zeros(shape, dtype), Geometry(shape[:3], np.eye(4)))
    assert not list(tmp_path.iterdir())


# Real files


def test_real_pictures_agree_with_pillow(data_dir: Path) -> None:
    folders = ("drive/training/images", "drive/training/labels", "brain_lgg/images", "us_busi/labels", "wbc_1/images")
    folders += ("cxr_lung/images", "retina_av_rgb/labels", "em_membrane/labels")
    for folder in folders:
        for path in sorted((data_dir / folder).iterdir())[:3]:
            with Pillow.open(path) as theirs:
                np.testing.assert_array_equal(rows(path), np.array(theirs))
            image = read_image(path)
            assert (image.warnings, image.geometry.spacing) == ((), (1, 1, 1))


def test_drive_labels_are_grey_whoever_drew_them(data_dir: Path) -> None:
    first = read_image(data_dir / "drive" / "test" / "labels" / "01.gif")
    second = read_image(data_dir / "drive" / "test" / "labels_2nd_observer" / "01.gif")
    assert first.array.shape == second.array.shape == (565, 584, 1)
    assert set(np.unique(first.array)) == {0, 255}
    assert set(np.unique(second.array)) == {3, 253}  # a palette of 5 and 6 bits
