"""What a user names as input becomes cases, channels gathered where the bundle takes several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer

from medseg.errors import ConfigError, ImageError
from medseg.images import Geometry, write_dicom_series, write_volume
from medseg.inference import Mirrored, Slices, find_inputs
from medseg.inference.inputs import check_input, named_entries


def metadata(channels: int, **others: Any) -> dict[str, Any]:
    return {"network_data_format": {"inputs": {"image": {"num_channels": channels, **others}}}}


def write(folder: Path, *names: str) -> None:
    for name in names:
        write_volume(folder / f"{name}.nii.gz", np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), np.eye(4)))


def named(folder: Path, channels: int) -> dict[str, Any]:
    found = find_inputs(str(folder), metadata=metadata(channels))
    return {
        str(each["case"]): [Path(path).name[:-7] for path in each["image"]]
        if isinstance(each["image"], list)
        else Path(each["image"]).name[:-7]
        for each in found
    }


def test_channels_are_gathered_for_a_bundle_of_several(tmp_path: Path) -> None:
    write(tmp_path, "b_0001", "a_0000", "b_0000", "a_0001")
    assert named(tmp_path, 2) == {"a": ["a_0000", "a_0001"], "b": ["b_0000", "b_0001"]}


def test_numbered_cases_are_no_channels_for_a_bundle_of_one(tmp_path: Path) -> None:
    write(tmp_path, "scan_0000", "scan_0001")
    assert named(tmp_path, 1) == {"scan_0000": "scan_0000", "scan_0001": "scan_0001"}


def test_the_single_channel_of_every_case_is_left_out_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, "a_0000", "b_0000")
    assert named(tmp_path, 1) == {"a": "a_0000", "b": "b_0000"}


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a_0000", "a_0001", "b_0000")
    with pytest.raises(ImageError, match="b: its channel b_0001 is missing"):
        find_inputs(str(tmp_path), metadata=metadata(2))


def test_no_input_tells_how_to_give_it() -> None:
    with pytest.raises(ImageError, match="use --input"):
        find_inputs(None, metadata=metadata(1))


def test_several_inputs_are_one_list_of_cases(tmp_path: Path) -> None:
    write(tmp_path / "one", "a", "b")
    write(tmp_path / "two", "c")
    found = find_inputs([str(tmp_path / "one"), str(tmp_path / "two" / "c.nii.gz")], metadata=metadata(1))
    assert [each["case"] for each in found] == ["a", "b", "c"]
    write(tmp_path / "two", "a")
    with pytest.raises(ImageError, match=r"one/a\.nii\.gz and .*two/a\.nii\.gz would give one result"):
        find_inputs([str(tmp_path / "one"), str(tmp_path / "two")], metadata=metadata(1))


def test_what_should_be_a_scan_and_is_none_has_its_entry(tmp_path: Path) -> None:
    write(tmp_path / "scans", "a")
    grid = Geometry((3, 4, 5), np.eye(4))
    write_dicom_series(tmp_path / "scans" / "series", np.zeros((3, 4, 5), np.int16), grid, modality="CT")
    (tmp_path / "scans" / "b.nii.gz").write_text("no scan")
    (tmp_path / "scans" / "without_slices").mkdir()
    (tmp_path / "scans" / "notes.txt").write_text("no scan, and not named like one")
    given = [str(tmp_path / each) for each in ("scans", "nowhere.nii.gz")]
    found = find_inputs(given, metadata=metadata(1))
    assert [each["case"] for each in found] == ["a", "b", "series", "without_slices", "nowhere"]


def test_single_input_without_a_scan_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no scan")
    with pytest.raises(ImageError, match="no image in it"):
        find_inputs(str(tmp_path), metadata=metadata(1))


def test_masks_beside_their_images_are_no_scans(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a", "a_mask", "b", "b_mask", "b_mask_1", "c_mask")
    with caplog.at_level("INFO"):
        assert list(named(tmp_path, 1)) == ["a", "b", "c_mask"]
    assert "a_mask.nii.gz: is left out as the mask of the image beside it, and so are 2 others" in caplog.text
    found = find_inputs([str(tmp_path / "a_mask.nii.gz")], metadata=metadata(1))
    assert [each["case"] for each in found] == ["a_mask"], "named by hand"


def test_entries_of_one_name_are_refused_and_names_are_texts() -> None:
    twins = [{"image": "A/scan.nii.gz"}, {"image": "B/scan.nii.gz"}]
    with pytest.raises(
        ConfigError, match=r"A/scan\.nii\.gz and B/scan\.nii\.gz would give one result, 'scan'; give each"
    ):
        named_entries(twins, ["image"])
    entries = named_entries([{"image": Path("B/b.nii.gz")}, {"image": ["c_0000.nii.gz"], "case": 1}], ["image"])
    assert [entry["case"] for entry in entries] == ["1", "b"]
    with pytest.raises(ConfigError, match="an entry has image, and no 'image': expected image"):
        named_entries([{"image": []}], ["image"])


def test_results_among_the_scans_are_none_of_them(tmp_path: Path) -> None:
    grid = Geometry((4, 4, 4), np.eye(4))
    for folder in ("ser", "out/ser"):
        write_dicom_series(tmp_path / folder, np.zeros(grid.shape, np.int16), grid, modality="CT", seed=folder)
    next((tmp_path / "out" / "ser").iterdir()).rename(tmp_path / "out" / "ser.dcm")
    found = find_inputs(str(tmp_path), metadata=metadata(1), output_dir=str(tmp_path / "out"))
    assert [each["case"] for each in found] == ["ser"]


def test_series_of_one_folder_are_cases_of_their_own(tmp_path: Path) -> None:
    grid = Geometry((4, 4, 4), np.eye(4))
    for number in "12":
        write_dicom_series(tmp_path / number, np.zeros(grid.shape, np.int16), grid, modality="CT", seed=number)
        for file in (tmp_path / number).iterdir():
            file.rename(tmp_path / f"{number}_{file.name}")
        (tmp_path / number).rmdir()
    found = find_inputs([f"{tmp_path}::1", f"{tmp_path}::2"], metadata=metadata(1))
    assert [each["case"] for each in found] == [f"{tmp_path.name}_1", f"{tmp_path.name}_2"]


@pytest.mark.parametrize(
    ("dims", "inferer", "cases"),
    [
        (2, None, ["a_1", "a_2", "a_3", "b"]),
        (2, Slices(SimpleInferer()), ["a", "b"]),
        (3, None, ["a", "b"]),
    ],
)
def test_pages_are_pictures_where_the_bundle_takes_pictures(
    tmp_path: Path, dims: int, inferer: Any, cases: list[str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 5, 7), np.uint8), photometric="minisblack")
    (tmp_path / "b.tif").write_bytes(b"II*\0 damaged")
    found = find_inputs(str(tmp_path), metadata=metadata(1, spatial_shape=["*"] * dims), inferer=inferer)
    assert [each["case"] for each in found] == cases
    assert found[0]["image"] == f"{tmp_path}/a.tif" + ("::1" if len(cases) == 4 else "")


@pytest.mark.parametrize(
    ("shape", "inferer", "told"),
    [
        ((8, 8), SimpleInferer(), None),
        ((8, 8, 8), SimpleInferer(), "has 3 dimensions; this bundle takes images of 2"),
        ((8, 8, 8), Slices(SimpleInferer()), None),
        ((8, 8, 8), Mirrored(Slices(SimpleInferer())), None),
        ((8, 8), Slices(SimpleInferer()), "has 2 dimensions; this bundle takes images of 3"),
    ],
)
def test_network_for_pictures_takes_volumes_where_they_are_cut_into_slices(
    shape: tuple[int, ...], inferer: Any, told: str | None
) -> None:
    image = MetaTensor(torch.zeros(1, *shape), meta={"filename_or_obj": "a.nii.gz"})
    given: dict[str, Any] = {"metadata": metadata(1, spatial_shape=["*", "*"]), "inferer": inferer}
    if told is None:
        check_input(image, **given)
    else:
        with pytest.raises(ImageError, match=f"^a.nii.gz: {told}$"):
            check_input(image, **given)
