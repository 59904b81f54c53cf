"""Classes come from metadata.json, and what does not match there is named."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from medseg.bundle import class_colours, class_names, label_classes
from medseg.bundle.metadata import label_regions
from medseg.bundle.run import find_bundle
from medseg.errors import BundleError
from medseg.types import CodedTerm, LabelClass

METADATA: dict[str, Any] = {
    "classes": {
        "liver": {
            "colour": [180, 120, 60],
            "code": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"},
        },
        "spleen": {"colour": [200, 60, 200]},
    },
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "2": "liver", "1": "spleen"}}}},
}


def test_classes_stand_in_the_order_of_their_values_without_the_background() -> None:
    assert label_classes(METADATA) == (
        LabelClass(1, "spleen", (200, 60, 200), None),
        LabelClass(2, "liver", (180, 120, 60), CodedTerm("10200004", "SCT", "Liver")),
    )
    assert class_names(METADATA) == {1: "spleen", 2: "liver"}
    assert class_colours(METADATA) == {1: (200, 60, 200), 2: (180, 120, 60)}


def test_class_without_details_is_named() -> None:
    metadata = copy.deepcopy(METADATA)
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"]["3"] = "kidney"
    with pytest.raises(BundleError, match="kidney"):
        label_classes(metadata)


@pytest.mark.parametrize("colour", ["red", [1, 2], [1, 2, 300], 3, None])
def test_colour_that_is_none_is_named_with_its_class(colour: object) -> None:
    metadata = copy.deepcopy(METADATA)
    metadata["classes"]["spleen"]["colour"] = colour
    with pytest.raises(BundleError, match="class 'spleen'"):
        label_classes(metadata)


def test_metadata_without_classes_says_what_was_expected() -> None:
    with pytest.raises(
        BundleError, match="'network_data_format::outputs::pred::channel_def' does not name the classes"
    ):
        label_classes({})
    with pytest.raises(BundleError, match="no 'classes', which MONAI's own bundles lack; add the classes and their"):
        label_classes({**METADATA, "classes": None})


def test_region_has_the_label_values_of_its_classes() -> None:
    regions = {"both": ["liver", "spleen"], "liver alone": ["liver"]}
    assert label_regions(METADATA | {"regions": regions}) == {"both": (2, 1), "liver alone": (2,)}
    assert label_regions(METADATA) == {}


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"abdomen": ["liver", "kidney"]}, "region 'abdomen': there is no class 'kidney'; classes are"),
        ({"abdomen": ["background", "liver"]}, "region 'abdomen': there is no class 'background'"),
        ({"liver": ["liver", "spleen"]}, "region 'liver': there is a class of that name"),
        ({"abdomen": []}, "region 'abdomen': expected a list of classes"),
        ({"abdomen": "liver"}, "region 'abdomen': expected a list of classes"),
        ({"abdomen": None}, "region 'abdomen': expected a list of classes"),
    ],
)
def test_region_that_fits_no_classes_is_named(regions: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=rf"^metadata\.json: {message}[^\n]*\['liver', 'spleen'\]$"):
        label_regions(METADATA | {"regions": regions})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"metadata\.json: no JSON that can be read"),
        ("{}", r"metadata\.json: has no 'network_data_format::inputs::image'"),
        ("[]", r"metadata\.json: has no 'network_data_format::inputs::image'"),
        (
            '{"network_data_format": {"inputs": {"image": {}}}}',
            r"metadata\.json: no 'num_channels', which every bundle",
        ),
    ],
)
def test_bundle_whose_metadata_cannot_be_used_is_named_before_all_else(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text(text)
    with pytest.raises(BundleError, match=message):
        find_bundle(tmp_path)
