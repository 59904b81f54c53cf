"""RT structure sets filled on the grid of their image: right where the contours are, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from medseg.errors import ImageError
from medseg.images import Geometry, read_geometry, read_image, read_label
from medseg.images.dicom.rtstruct_read import fill

TILTED = np.eye(4)
TILTED[:3, :3] = Rotation.from_euler("xyz", (15, -20, 30), degrees=True).as_matrix() * (0.9, 0.8, 3)
TILTED[:3, 3] = (-40, 20, 7)
GRID = Geometry((40, 36, 6), TILTED)


def square(k: float, low: float, high: float) -> np.ndarray:
    """Corners of a square in voxel indices, on slice k."""
    return np.array([(low, low, k), (high, low, k), (high, high, k), (low, high, k)])


def structure_set(path: Path, structures: dict[str, list[np.ndarray]], kind: str = "CLOSED_PLANAR") -> Path:
    """Write contours, given in voxel indices of `GRID`, as a structure set."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written: Any = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    written.SOPClassUID, written.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    written.Modality = "RTSTRUCT"
    written.StructureSetROISequence, written.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(structures.items(), 7):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ROIDisplayColor, drawn.ContourSequence = number, [255, number, 0], []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            lps = (points @ TILTED[:3, :3].T + TILTED[:3, 3]) * (-1, -1, 1)
            contour.ContourData = [f"{value:.6f}" for value in lps.ravel()]
            drawn.ContourSequence.append(contour)
        written.StructureSetROISequence.append(roi)
        written.ROIContourSequence.append(drawn)
    written.save_as(path, enforce_file_format=True)
    return path


def test_contours_become_voxels_with_names_and_colours(tmp_path: Path) -> None:
    path = structure_set(tmp_path / "rt.dcm", {"liver": [square(2, 4.5, 9.5)], "node": [square(3, 19.5, 22.5)]})
    found = read_label(path, grid=GRID)
    expected = np.zeros(GRID.shape, np.uint8)
    expected[5:10, 5:10, 2] = 1
    expected[20:23, 20:23, 3] = 2
    np.testing.assert_array_equal(found.array, expected)
    assert [(each.value, each.name, each.colour) for each in found.classes] == [
        (1, "liver", (255, 7, 0)),
        (2, "node", (255, 8, 0)),
    ]
    assert found.geometry.agrees_with(GRID) and not found.warnings and found.format == "RTSTRUCT"


def test_a_contour_within_another_is_a_hole(tmp_path: Path) -> None:
    path = structure_set(tmp_path / "rt.dcm", {"ring": [square(2, 4.5, 19.5), square(2, 9.5, 14.5)]})
    found = read_label(path, grid=GRID).array[:, :, 2]
    assert found.sum() == 15 * 15 - 5 * 5 and not found[12, 12]


def test_a_keyhole_is_a_hole(tmp_path: Path) -> None:
    """One contour that goes in along a line, round the hole and out along the same line."""
    outer, inner = (
        [(19.5, 12), (19.5, 19.5), (4.5, 19.5), (4.5, 4.5), (19.5, 4.5)],
        [(14.5, 9.5), (9.5, 9.5), (9.5, 14.5)],
    )
    way = [(14.5, 12), *inner, (14.5, 14.5), (14.5, 12), (19.5, 12)]
    contour = np.array([(i, j, 2.0) for i, j in [*outer, (19.5, 12), *way]])
    found = read_label(structure_set(tmp_path / "rt.dcm", {"ring": [contour]}), grid=GRID).array[:, :, 2]
    expected = np.zeros(GRID.shape[:2], bool)
    expected[5:20, 5:20] = True
    expected[10:15, 10:15] = False
    np.testing.assert_array_equal(found > 0, expected)


def test_contours_on_every_other_slice_are_told(tmp_path: Path) -> None:
    contours = {"a": [square(k, 4.5, 9.5) for k in (0, 2, 4)], "b": [square(k, 19.5, 22.5) for k in (0, 1, 3)]}
    found = read_label(structure_set(tmp_path / "rt.dcm", contours), grid=GRID)
    told = "no two slices next to each other have contours, those between stay empty: 'a'"
    assert found.warnings == (told,)
    assert (found.array == 1).sum(axis=(0, 1)).tolist() == [25, 0, 25, 0, 25, 0]


def test_contours_in_two_lists_for_one_structure_are_refused(tmp_path: Path) -> None:
    path = structure_set(tmp_path / "rt.dcm", {"a": [square(2, 4.5, 9.5)], "b": [square(3, 4.5, 9.5)]})
    written = pydicom.dcmread(path)
    written.ROIContourSequence[1].ReferencedROINumber = written.ROIContourSequence[0].ReferencedROINumber
    written.save_as(path)
    with pytest.raises(ImageError, match="not described as DICOM asks for"):
        read_label(path, grid=GRID)


def test_contours_closer_than_slices_cut_no_holes(tmp_path: Path) -> None:
    path = structure_set(
        tmp_path / "rt.dcm", {"a": [square(1.8, 3.5, 8.5), square(2.0, 4.5, 9.5), square(2.3, 4.5, 9.5)]}
    )
    found = read_label(path, grid=GRID)
    assert found.array.sum() == 25 and found.array[5:10, 5:10, 2].all()
    assert found.warnings == ("contours lie up to 0.30 slice distances beside the slices; each counts for the nearest",)


def test_overlapping_structures_have_a_channel_each(tmp_path: Path) -> None:
    path = structure_set(tmp_path / "rt.dcm", {"a": [square(2, 4.5, 9.5)], "b": [square(2, 7.5, 12.5)]})
    found = read_label(path, grid=GRID)
    assert found.array.shape == (*GRID.shape, 2) and found.array.sum(axis=(0, 1, 2)).tolist() == [25, 25]
    assert found.warnings == ("structures overlap ('a' and 'b'), so each has a channel of its own",)


def test_points_and_empty_structures_are_told(tmp_path: Path) -> None:
    path = structure_set(tmp_path / "rt.dcm", {"isocentre": [square(2, 4, 5)], "nothing": []}, kind="POINT")
    found = read_label(path, grid=GRID)
    assert not found.array.any()
    assert found.warnings == (
        "without closed contours, so not drawn: 'isocentre', 'nothing'",
        "1 contours are points or open lines, which enclose nothing; they were left out",
    )


@pytest.mark.parametrize(
    ("contour", "message"),
    [
        (square(9, 4, 9), "lies outside of its image"),
        (square(2, 30, 50), "lies outside of its image"),
        (np.array([(4, 4, 1.0), (9, 4, 2.0), (9, 9, 3.0)]), "is not parallel to the slices"),
        (np.array([(4, 4, 2.0), (9, 4, 2.0)]), "has no three points"),
    ],
)
def test_what_does_not_fit_the_image_is_refused(tmp_path: Path, contour: np.ndarray, message: str) -> None:
    path = structure_set(tmp_path / "rt.dcm", {"liver": [contour]})
    with pytest.raises(ImageError, match=rf"rt\.dcm: a contour of 'liver' {message}"):
        read_label(path, grid=GRID)


def test_without_its_image_it_is_no_label_and_never_an_image(tmp_path: Path) -> None:
    path = structure_set(tmp_path / "rt.dcm", {"liver": [square(2, 4, 9)]})
    with pytest.raises(ImageError, match="has no grid of its own; name its image series too"):
        read_label(path)
    with pytest.raises(ImageError, match="no image, holds 1 series: 1 = RTSTRUCT structure set"):
        read_image(path)


def test_real_structure_set_lies_on_its_slice(data_dir: Path) -> None:
    case = data_dir / "dicom_qa" / "rtstruct_phantom"
    grid = read_geometry(case / "dicom")
    found = read_label(case / "rtstruct" / "rt.dcm", grid=grid)
    contours = pydicom.dcmread(case / "rtstruct" / "rt.dcm").ROIContourSequence[0].ContourSequence
    points = np.concatenate([np.array(each.ContourData, float).reshape(-1, 3) for each in contours]) * (-1, -1, 1)
    inside = np.argwhere(found.array) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    np.testing.assert_allclose(inside.min(axis=0), points.min(axis=0), atol=0.5)
    np.testing.assert_allclose(inside.max(axis=0), points.max(axis=0), atol=0.5)
    assert [each.name for each in found.classes] == ["ROI-1"]


@given(centre=st.tuples(st.floats(8, 30), st.floats(8, 30)), radius=st.floats(2, 7), count=st.integers(3, 60))
def test_fill_takes_the_pixels_whose_centres_lie_inside(centre: tuple[float, float], radius: float, count: int) -> None:
    angles = np.arange(count) * 2 * np.pi / count + 0.1
    polygon = np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], axis=1)
    i, j = np.meshgrid(np.arange(40), np.arange(36), indexing="ij")
    edges = np.roll(polygon, -1, axis=0) - polygon
    # A point lies inside a convex polygon where it lies on one side of all of its edges.
    side = [dx * (j - y) - dy * (i - x) for (x, y), (dx, dy) in zip(polygon, edges, strict=True)]
    clear = np.abs(side).min(axis=0) > 1e-6
    np.testing.assert_array_equal(fill([polygon], (40, 36))[clear], (np.min(side, axis=0) > 0)[clear])
