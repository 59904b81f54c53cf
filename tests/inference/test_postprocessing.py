"""What a bundle's steps make of label maps, drawn by hand and against SciPy on whole ones."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.bundle import ConfigParser
from monai.transforms import Compose, LoadImaged, Orientationd
from numpy.typing import NDArray
from scipy import ndimage

from medseg.bundle.run import find_bundle
from medseg.errors import BundleError, ImageError
from medseg.images import Geometry, write_volume
from medseg.images.reader import Reader
from medseg.inference import to_source_grid
from medseg.inference.postprocessing import components
from medseg.inference.postprocessing.steps import LargestComponent, Postprocessing, Structure, VoxelSize

METADATA = {
    "classes": {name: {"colour": [0, 0, value]} for value, name in enumerate(("liver", "lesion", "vessel"), start=1)},
    "regions": {"whole_liver": ["liver", "lesion"], "inner": ["vessel", "lesion"]},
    "network_data_format": {
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "liver", "2": "lesion", "3": "vessel"}}}
    },
}
VALUES = {"liver": (1,), "lesion": (2,), "vessel": (3,), "whole_liver": (1, 2), "inner": (3, 2)}
MM = VoxelSize((1, 1, 1), 1)
LETTERS = ".LTV"


def drawn(text: str) -> NDArray[np.uint8]:
    return np.array([[LETTERS.index(each) for each in row] for row in text.split()], np.uint8)


def after(labels: NDArray[Any] | str, *steps: Mapping[str, Any], voxel: VoxelSize = MM) -> NDArray[Any]:
    labels = drawn(labels) if isinstance(labels, str) else labels
    return Postprocessing(steps, metadata=METADATA)(labels, voxel)


def shown(labels: NDArray[Any]) -> list[str]:
    return ["".join(LETTERS[value] for value in row) for row in labels]


# Drawn by hand


def test_only_the_largest_component_stays_and_other_classes_are_left_alone() -> None:
    found = after("LLTL.T LTLL.T TLLL.T ...... LL..T.", {"largest": ["lesion"]})
    assert shown(found) == ["LL.L.T", "L.LL.T", ".LLL.T", "......", "LL...."]


def test_region_is_one_structure_whatever_its_classes() -> None:
    found = after("LLTL.T LTLL.T TLLL.T ...... LL..T.", {"largest": ["whole_liver"]})
    assert shown(found) == ["LLTL..", "LTLL..", "TLLL..", "......", "......"]


def test_structure_that_is_not_there_leaves_the_rest_alone() -> None:
    every = [{"largest": ["lesion"]}, {"minimum_voxels": {"lesion": 9}}, {"fill_holes": ["lesion"]}]
    assert shown(after("LL. ..V", *every, {"inside": {"lesion": "liver"}})) == ["LL.", "..V"]


def test_corners_and_edges_do_not_tie_components_together() -> None:
    assert shown(after("LL.. ..L. ...L", {"largest": ["liver"]})) == ["LL..", "....", "...."]
    stairs = np.zeros((2, 2, 2), np.uint8)
    stairs[0, 0, 0] = stairs[1, 1, 0] = stairs[0, 1, 1] = 1
    assert int(after(stairs, {"largest": ["liver"]}).sum()) == 1


def test_components_hang_together_across_slices() -> None:
    volume = np.zeros((3, 3, 3), np.uint8)
    volume[1, 1, :] = volume[0, 0, 0] = 1
    found = after(volume, {"minimum_voxels": {"liver": 3}})
    assert found[1, 1].tolist() == [1, 1, 1] and int(found.sum()) == 3


def test_of_components_of_one_size_the_first_stays_whatever_the_layout_in_memory() -> None:
    labels = drawn("..L.. ..L.L L...L L.... ...LL")
    for each in (labels, np.asfortranarray(labels), labels.T.copy().T, labels[::-1].copy()[::-1]):
        assert shown(after(each, {"largest": ["liver"]})) == ["..L..", "..L..", *["....."] * 3]


def test_smallest_size_is_in_cubic_millimetres_of_the_grid_that_is_given() -> None:
    volume = np.zeros((4, 4, 4), np.uint8)
    volume[0, 0, :3] = volume[3, 3, :2] = 2
    affine = np.diag([-0.5, 0.5, 2, 1])  # 0.5 mm3 a voxel
    voxel = VoxelSize.of(affine)
    assert voxel.content == pytest.approx(0.5) and voxel.spacing == (0.5, 0.5, 2)
    for minimum, left in ((1, 5), (1.01, 3), (1.5, 3), (1.51, 0)):
        assert (after(volume, {"minimum_mm3": {"lesion": minimum}}, voxel=voxel) > 0).sum() == left


def test_sheared_voxel_has_the_volume_of_its_parallelepiped() -> None:
    affine = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    assert VoxelSize.of(affine).content == pytest.approx(3)


@pytest.mark.parametrize("minimum", [0.1 * 0.1 * 0.3 * 7, 7 * float(np.float32(0.1)) ** 2 * float(np.float32(0.3))])
def test_component_of_exactly_the_smallest_size_stays_however_the_spacing_is_rounded(minimum: float) -> None:
    volume = np.zeros((1, 9, 9), np.uint8)
    volume[0, 0, :7] = 1
    for spacing in (np.float64([0.1, 0.1, 0.3]), np.float32([0.1, 0.1, 0.3])):
        voxel = VoxelSize.of(np.diag([*spacing, 1]))
        assert after(volume, {"minimum_mm3": {"liver": minimum}}, voxel=voxel).sum() == 7


def test_picture_is_measured_in_square_millimetres() -> None:
    picture = drawn("LLL... ....LL")
    for affine in (np.diag([0.5, 0.5, 1]), np.diag([-0.5, -0.5, 1, 1])):
        voxel = VoxelSize.of(affine, spatial_dims=2)
        assert voxel.content == pytest.approx(0.25)
        assert shown(after(picture, {"minimum_mm2": {"liver": 0.75}}, voxel=voxel)) == ["LLL...", "......"]
        flat = after(picture[..., None], {"minimum_mm2": {"liver": 0.75}}, voxel=voxel)
        assert shown(flat[..., 0]) == ["LLL...", "......"]


def test_background_that_a_structure_encloses_is_filled_and_other_classes_in_it_stay() -> None:
    found = after("LLLLL. L.V.L. L...L. LLLLL.", {"fill_holes": ["liver"]})
    assert shown(found) == ["LLLLL.", "LLVLL.", "LLLLL.", "LLLLL."]


def test_hole_open_to_the_border_or_through_the_smallest_gap_is_none() -> None:
    for text in ("LLL L.L L.L", "LLLL L... LLL."):
        assert shown(after(text, {"fill_holes": ["liver"]})) == text.split()


def test_corners_do_not_lead_out_of_a_hole() -> None:
    assert shown(after(".L.. L.L. .L..", {"fill_holes": ["liver"]})) == [".L..", "LLL.", ".L.."]


def test_hole_of_a_region_becomes_its_first_class() -> None:
    text = "LTT T.L LLL"
    assert shown(after(text, {"fill_holes": ["whole_liver"]})) == ["LTT", "TLL", "LLL"]
    assert shown(after("VVV T.T VVV", {"fill_holes": ["inner"]})) == ["VVV", "TVT", "VVV"]
    assert shown(after(text, {"fill_holes": ["liver"]})) == text.split()


def test_ring_in_one_slice_encloses_nothing_but_a_shell_does() -> None:
    ring = np.zeros((3, 3, 3), np.uint8)
    ring[1] = drawn("LLL L.L LLL")
    assert after(ring, {"fill_holes": ["liver"]})[1, 1, 1] == 0
    shell = np.ones((3, 3, 3), np.uint8)
    shell[1, 1, 1] = 0
    assert after(shell, {"fill_holes": ["liver"]}).all()


def test_volume_one_slice_thick_is_filled_like_a_picture() -> None:
    ring = drawn("LLL L.L LLL")
    for axis in range(3):
        assert after(np.expand_dims(ring, axis), {"fill_holes": ["liver"]}).all()


def test_what_was_too_small_for_a_lesion_becomes_liver_where_the_liver_is_filled_afterwards() -> None:
    steps = [{"minimum_voxels": {"lesion": 2}}, {"fill_holes": ["liver"]}]
    assert shown(after("LLLL LT.L LLLL T...", *steps)) == ["LLLL", "LLLL", "LLLL", "...."]
    assert shown(after("LLLL LT.L LLLL T...", *reversed(steps))) == ["LLLL", "L.LL", "LLLL", "...."]


def test_only_lesions_that_border_on_the_liver_stay() -> None:
    found = after("LLT.T LTT.T ..... T..TT", {"inside": {"lesion": "liver"}})
    assert shown(found) == ["LLT..", "LTT..", ".....", "....."]
    touching_by_corner = "L.. .T. ..."
    assert shown(after(touching_by_corner, {"inside": {"lesion": "liver"}})) == ["L..", "...", "..."]


def test_inside_a_region_that_holds_the_structure_means_beside_its_other_classes() -> None:
    assert shown(after("LT.T", {"inside": {"lesion": "whole_liver"}})) == ["LT.."]
    assert shown(after("LV.T", {"inside": {"inner": "liver"}})) == ["LV.."]


def test_margin_is_in_millimetres_between_centres() -> None:
    volume = np.zeros((1, 12, 12), np.uint8)
    volume[0, 0, 0] = 1
    volume[0, 0, 3] = volume[0, 4, 0] = volume[0, 4, 3] = volume[0, 11, 11] = 2  # 6, 4, 7.2 and far in mm
    voxel = VoxelSize.of(np.diag([5, 1, 2, 1]))
    for margin, left in ((0, 0), (3.9, 0), (4, 1), (5.9, 1), (6, 2), (7.2, 2), (7.22, 3), (25, 4)):
        found = after(volume, {"inside": {"lesion": "liver"}, "margin_mm": margin}, voxel=voxel)
        assert (found == 2).sum() == left, margin


def test_whole_component_stays_that_comes_near_in_one_place() -> None:
    found = after("L..TTTTTT ......... T.T.T...T", {"inside": {"lesion": "liver"}, "margin_mm": 3})
    assert shown(found) == ["L..TTTTTT", ".........", "T.T......"]


def test_steps_leave_what_they_were_given_as_it_is_and_keep_its_kind() -> None:
    for kind in (np.uint8, np.uint16, np.int32, np.int64):
        labels = drawn("LL.L T..V").astype(kind)
        before = labels.copy()
        found = after(labels, {"largest": ["liver"]}, {"inside": {"vessel": "liver"}})
        np.testing.assert_array_equal(labels, before)
        assert found.dtype == kind and found.shape == labels.shape
        assert (found == drawn("LL.. T...")).all()


def test_values_above_255_are_told_apart() -> None:
    labels = np.array([[257, 257, 0, 1], [0, 0, 0, 1]], np.uint16)
    assert after(labels, {"minimum_voxels": {"liver": 3}}).tolist() == [[257, 257, 0, 0], [0, 0, 0, 0]]


# Against SciPy, on any label map

label_maps = st.one_of(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=9), elements=st.integers(0, 3)),
    st.builds(
        lambda shape, seed, coarse: np.kron(
            np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8), np.ones([coarse] * len(shape), np.uint8)
        ),
        array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=8),
        st.integers(0, 99),
        st.integers(1, 3),
    ),
)
names = st.sampled_from(sorted(VALUES))
layouts = st.sampled_from(["C", "F"])


def flat(labels: NDArray[Any]) -> NDArray[Any]:
    thin = [axis for axis, length in enumerate(labels.shape) if length == 1]
    return labels.squeeze(tuple(thin[: labels.ndim - 2]))


def components_of(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    numbered, count = ndimage.label(mask)
    return [numbered == number for number in range(1, count + 1)]


@given(label_maps, names, layouts)
def test_largest_is_that_of_scipy(labels: NDArray[np.uint8], name: str, order: Any) -> None:
    expected = labels.copy()
    mask = np.isin(flat(labels), VALUES[name])
    found = components_of(mask)
    if found:
        flat(expected)[mask & ~max(found, key=np.count_nonzero)] = 0
    np.testing.assert_array_equal(after(np.asarray(labels, order=order), {"largest": [name]}), expected)


@given(label_maps, names, st.integers(0, 40), layouts)
def test_smallest_size_is_that_of_scipy(labels: NDArray[np.uint8], name: str, smallest: int, order: Any) -> None:
    expected = labels.copy()
    for each in components_of(np.isin(flat(labels), VALUES[name])):
        if np.count_nonzero(each) < smallest:
            flat(expected)[each] = 0
    step = {"minimum_voxels": {name: smallest}}
    np.testing.assert_array_equal(after(np.asarray(labels, order=order), step), expected)


@given(label_maps, names, layouts)
def test_holes_are_those_of_scipy(labels: NDArray[np.uint8], name: str, order: Any) -> None:
    expected = labels.copy()
    filled = ndimage.binary_fill_holes(np.isin(flat(labels), VALUES[name]))
    flat(expected)[filled & (flat(labels) == 0)] = VALUES[name][0]
    np.testing.assert_array_equal(after(np.asarray(labels, order=order), {"fill_holes": [name]}), expected)


@given(label_maps, st.sampled_from([("lesion", "liver"), ("whole_liver", "vessel"), ("liver", "inner")]), layouts)
def test_neighbours_are_those_of_scipy(labels: NDArray[np.uint8], pair: tuple[str, str], order: Any) -> None:
    name, of = pair
    expected = labels.copy()
    beside = ndimage.binary_dilation(np.isin(flat(labels), VALUES[of]))
    for each in components_of(np.isin(flat(labels), VALUES[name])):
        if not (each & beside).any():
            flat(expected)[each] = 0
    np.testing.assert_array_equal(after(np.asarray(labels, order=order), {"inside": {name: of}}), expected)


@given(label_maps, st.floats(0.5, 12), st.tuples(*[st.sampled_from([0.5, 1.0, 2.5])] * 3), layouts)
def test_margin_is_that_of_distances_over_the_whole_map(
    labels: NDArray[np.uint8], margin: float, spacing: tuple[float, ...], order: Any
) -> None:
    spacing = spacing[: labels.ndim]
    expected = labels.copy()
    liver = labels == 1
    near = np.zeros(labels.shape, bool)
    if liver.any():
        near = ndimage.distance_transform_edt(~liver, sampling=spacing) <= margin * (1 + 1e-6)
        near |= ndimage.binary_dilation(liver)
    for each in components_of(flat(labels) == 2):
        if not (each & flat(near)).any():
            flat(expected)[each] = 0
    step = {"inside": {"lesion": "liver"}, "margin_mm": margin}
    voxel = VoxelSize(spacing, 1)
    np.testing.assert_array_equal(after(np.asarray(labels, order=order), step, voxel=voxel), expected)


STEPS: list[Callable[[str], Mapping[str, Any]]] = [
    lambda name: {"largest": [name]},
    lambda name: {"minimum_mm3": {name: 7}},
    lambda name: {"minimum_voxels": {name: 4}},
    lambda name: {"fill_holes": [name]},
    lambda name: {"inside": {name: "liver" if name != "liver" else "lesion"}} if name != "whole_liver" else {},
]


@given(label_maps, names, st.sampled_from(STEPS))
def test_step_taken_twice_is_as_taken_once(
    labels: NDArray[np.uint8], name: str, step: Callable[[str], Mapping[str, Any]]
) -> None:
    steps = [step(name)] if step(name) else []
    once = after(labels, *steps)
    np.testing.assert_array_equal(after(once, *steps), once)


@given(
    label_maps, st.lists(st.tuples(names, st.integers(0, 9)), min_size=1, max_size=5, unique_by=lambda each: each[0])
)
def test_structures_of_one_step_are_as_taken_one_after_the_other(
    labels: NDArray[np.uint8], sizes: list[tuple[str, int]]
) -> None:
    together = after(labels, {"minimum_voxels": dict(sizes)}, {"largest": [name for name, _ in sizes]})
    first = [{"minimum_voxels": {name: size}} for name, size in sizes]
    np.testing.assert_array_equal(after(labels, *first, *[{"largest": [name]} for name, _ in sizes]), together)


def test_many_classes_are_told_apart() -> None:
    count = 300
    names = [f"organ_{value}" for value in range(1, count + 1)]
    channels = {"0": "background"} | {str(value): name for value, name in enumerate(names, start=1)}
    metadata = {
        "classes": {name: {"colour": [0, 0, 0]} for name in names},
        "regions": {"body": names},
        "network_data_format": {"outputs": {"pred": {"channel_def": channels}}},
    }
    each = np.arange(1, count + 1, dtype=np.uint16)
    labels = np.stack([each, each, 0 * each, each])
    largest = Postprocessing([{"largest": names}], metadata=metadata)(labels, MM)
    np.testing.assert_array_equal(largest, np.stack([each, each, 0 * each, 0 * each]))
    body = Postprocessing([{"largest": ["body"]}], metadata=metadata)(labels, MM)
    np.testing.assert_array_equal(body, largest)


@settings(max_examples=20)
@given(label_maps, names, st.integers(1, 30))
def test_result_is_the_same_however_the_work_is_cut_into_slabs(
    labels: NDArray[np.uint8], name: str, voxels: int
) -> None:
    steps = [{"fill_holes": [name]}, {"minimum_voxels": {name: 3}}, {"largest": [name]}]
    whole = after(labels, *steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "_SLAB_VOXELS", voxels)
        np.testing.assert_array_equal(after(labels, *steps), whole)


def test_little_memory_is_taken_beyond_the_label_map_where_a_structure_fills_it() -> None:
    """A copy, a mask, numbers of 2 or 4 bytes: no more than 7 bytes a voxel, and the slabs."""
    labels = np.random.default_rng(0).integers(0, 2, (200, 220, 240)).astype(np.uint8)
    labels[::2] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "_SLAB_VOXELS", 1 << 16)
        tracemalloc.start()
        after(labels, {"minimum_voxels": {"liver": 5}}, {"largest": ["liver"]}, {"fill_holes": ["liver"]})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 7 * labels.size + 16 * (1 << 16)


# What a bundle declares

WRONG: list[tuple[Any, str]] = [
    ("largest", r"expected a list of steps such as \{largest: \[NAME\]\}, found 'largest'$"),
    ({"largest": ["liver"]}, r"expected a list of steps .* found \{'largest': \['liver'\]\}$"),
    (["largest"], r"largest: is no step; expected one of \['fill_holes', .*'minimum_voxels'\] and its value$"),
    ([{"largets": ["liver"]}], r"no step 'largets'; did you mean 'largest'\?$"),
    ([{"dilate": ["liver"]}], r"no step 'dilate'; there are \['fill_holes', "),
    ([{"minimum": {"liver": 3}}], r"no step 'minimum'; did you mean 'minimum_mm[23]'\?$"),
    ([{}], r"has \[\]; expected exactly one of "),
    ([{"largest": ["liver"], "fill_holes": ["liver"]}], r"has \['fill_holes', 'largest'\]; expected exactly one of "),
    ([{"largest": ["spleen"]}], r"'spleen' is no class or region; there are \['inner', 'lesion', 'liver', 'vessel', "),
    ([{"largest": "liver"}], r"expected a list of classes or regions, found 'liver'$"),
    ([{"largest": []}], r"expected a list of classes or regions, found \[\]$"),
    ([{"fill_holes": [["liver"]]}], r"'\['liver'\]' is no class or region; "),
    ([{"minimum_mm3": ["liver"]}], r"expected a class or region and the smallest component of it, found \['liver'\]$"),
    ([{"minimum_mm3": {"liver": "50"}}], r"liver: expected a number of at least 0, found '50'$"),
    ([{"minimum_mm3": {"liver": -1}}], r"liver: expected a number of at least 0, found -1$"),
    ([{"minimum_voxels": {"liver": float("nan")}}], r"liver: expected a number of at least 0, found nan$"),
    ([{"minimum_voxels": {"liver": True}}], r"liver: expected a number of at least 0, found True$"),
    ([{"inside": {"lesion": "kidney"}}], r"'kidney' is no class or region; "),
    (
        [{"inside": {"whole_liver": "liver"}}],
        r"'liver' is part of 'whole_liver': nothing is left that .*$",
    ),
    ([{"inside": {"lesion": "liver"}, "margin_mm": None}], r"margin_mm: expected a number of at least 0, found None$"),
    ([{"largest": ["liver"], "margin_mm": 3}], r"margin_mm belongs to 'inside', not to 'largest'$"),
]


@pytest.mark.parametrize(("steps", "message"), WRONG)
def test_step_that_is_none_is_one_line_that_says_why(steps: Sequence[Any], message: str) -> None:
    with pytest.raises(BundleError, match=f"^postprocessing: [^\n]*{message}") as told:
        Postprocessing(steps, metadata=METADATA)
    assert "\n" not in str(told.value)


def test_picture_without_a_known_pixel_size_is_refused_where_one_is_needed() -> None:
    unknown = VoxelSize.of(np.diag([-1, -1, 1]), spatial_dims=2)
    with pytest.raises(ImageError, match=r"^minimum_mm2: the picture's file does not tell its pixel size; use min"):
        after("LL.", {"minimum_mm2": {"liver": 1}}, voxel=unknown)
    with pytest.raises(ImageError, match=r"^margin_mm: the picture's file does not tell its pixel size"):
        after("LL.", {"inside": {"lesion": "liver"}, "margin_mm": 1}, voxel=unknown)
    assert shown(after("LL.L", {"minimum_voxels": {"liver": 2}}, voxel=unknown)) == ["LL.."]


def test_cubic_millimetres_of_a_picture_and_square_ones_of_a_volume_are_refused() -> None:
    picture = VoxelSize.of(np.diag([0.5, 0.5, 1]), spatial_dims=2)
    with pytest.raises(BundleError, match=r"minimum_mm3: the image is a picture; use minimum_mm2 or minimum_voxels$"):
        after("LL.", {"minimum_mm3": {"liver": 1}}, voxel=picture)
    with pytest.raises(BundleError, match=r"minimum_mm2: the image is a volume; use minimum_mm3 or minimum_voxels$"):
        after(np.ones((2, 2, 2), np.uint8), {"minimum_mm2": {"liver": 1}})


def test_bundle_declares_its_steps_once_and_both_configs_take_them() -> None:
    bundle = find_bundle("spleen_ct_3d")
    for name in ("evaluate.yaml", "inference.yaml"):
        parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / name))
        parser["bundle_root"], parser["checkpoint"] = str(bundle), None
        parser.read_meta(str(bundle / "configs" / "metadata.json"))
        decided = parser.get_parsed_content("postprocessing").transforms[-1]
        assert decided.postprocessing.steps == (LargestComponent([Structure("spleen", (1,))]),)


@pytest.mark.parametrize("moved", [[], [Orientationd(keys="image", axcodes="RAS", labels=None)]])
def test_voxel_has_the_size_that_the_scans_file_tells_whatever_preprocessing_does(
    moved: list[Any], tmp_path: Path
) -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[0, 0, :3] = labels[5, 5, :2] = 2
    affine = np.diag([-0.5, 0.5, 2, 1])  # 0.5 mm3 a voxel
    write_volume(tmp_path / "scan.nii.gz", labels, Geometry(labels.shape, affine))
    preprocessing = Compose([LoadImaged(keys="image", reader=Reader, ensure_channel_first=True), *moved])
    data = preprocessing({"image": str(tmp_path / "scan.nii.gz")})
    data["pred"] = torch.from_numpy(np.eye(4, dtype=np.float32)[data["image"][0].numpy().astype(int)]).movedim(-1, 0)
    to_scan = to_source_grid(preprocessing, metadata=METADATA, steps=[{"minimum_mm3": {"lesion": 1.5}}])
    found = to_scan(data)["pred"]
    assert found[0, 0, 0, :3].tolist() == [2, 2, 2] and int((found > 0).sum()) == 3
