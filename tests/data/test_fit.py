"""Images of another kind than the network's are told before a training starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.inferers import SimpleInferer
from monai.transforms import Compose, LoadImaged, SqueezeDimd
from PIL import Image as Pillow

from medseg.data import Case
from medseg.data.colour import ColourSpaced
from medseg.data.fit import Kind, Taken, check_fit
from medseg.errors import DatasetError
from medseg.images import Geometry, write_volume
from medseg.images.reader import Reader
from medseg.inference import Mirrored, Slices

PICTURES = Taken(2, 1, ("grey",), by_slices=False, has_layer=False)
VOLUMES = replace(PICTURES, dims=3)
SEQUENCES = replace(PICTURES, channels=3, channel_names=("T1", "FLAIR", "T2"))
LOAD = LoadImaged(keys="image", reader=Reader, ensure_channel_first=True)


@pytest.fixture
def picture(tmp_path: Path) -> Case:
    Pillow.fromarray(np.zeros((5, 7, 3), np.uint8)).save(tmp_path / "a.png")
    return Case("a", (tmp_path / "a.png",), ())


@pytest.fixture
def volume(tmp_path: Path) -> Case:
    write_volume(tmp_path / "b.nii.gz", np.zeros((3, 4, 5), np.int16), Geometry((3, 4, 5), np.eye(4)))
    return Case("b", (tmp_path / "b.nii.gz",), ())


def told(case: Case, taken: Taken, *transforms: Any) -> str:
    with pytest.raises(DatasetError) as error:
        check_fit(case, Compose([LOAD, *transforms]), taken)
    path, _, problem = str(error.value).partition(": ")
    assert path == str(case.images[0])
    return problem


def test_images_that_fit_tell_what_the_others_are_to_be(picture: Case, volume: Case) -> None:
    load = Compose([LOAD])
    assert check_fit(volume, load, VOLUMES) == Kind(3, 1, VOLUMES, load)
    assert check_fit(picture, load, SEQUENCES) == Kind(2, 3, SEQUENCES, load)


def test_other_dimensions_are_told_with_what_to_do(picture: Case, volume: Case) -> None:
    wide = "has 3 dimensions; this bundle takes images of 2: "
    assert told(volume, PICTURES) == wide + "give single slices, or take a bundle for volumes"
    assert told(volume, replace(PICTURES, has_layer=True)) == wide + "add --layer volumes"
    flat = "has 2 dimensions; this bundle takes images of 3: "
    assert told(picture, VOLUMES) == flat + "give volumes, or take a bundle for pictures"
    assert told(picture, replace(VOLUMES, by_slices=True)) == flat + "leave the layer volumes out"


def test_other_channels_are_told_with_what_to_do(picture: Case, tmp_path: Path) -> None:
    adapt = "or make a bundle for yours by `medseg adapt --channels`"
    assert told(picture, PICTURES) == f"has 3 channels; this bundle takes 1 (grey): leave the others out, {adapt}"
    Pillow.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "c.png")
    grey = told(Case("c", (tmp_path / "c.png",), ()), SEQUENCES)
    assert grey.startswith("has 1 channel; this bundle takes 3 (T1, FLAIR, T2): give them in one file, or as CASE_0000")


def test_volume_of_other_channels_is_named_from_its_header(volume: Case, tmp_path: Path) -> None:
    grid = Geometry((3, 4, 5), np.eye(4))
    write_volume(tmp_path / "two.nii.gz", np.zeros((3, 4, 5, 2), np.int16), grid)
    kind = check_fit(volume, Compose([LOAD]), VOLUMES)
    assert kind is not None and kind.problem(volume, grid) is None
    path = tmp_path / "two.nii.gz"
    assert kind.problem(Case("two", (path,), ()), grid) == f"{path}: has 2 channels, and other cases have 1; convert it"


def test_channels_are_counted_as_the_preprocessing_leaves_them(picture: Case) -> None:
    check_fit(picture, Compose([LOAD, ColourSpaced("image", "luma")]), PICTURES)


def test_preprocessing_that_cannot_be_done_with_the_image_hides_nothing(picture: Case) -> None:
    impossible = SqueezeDimd(keys="image", dim=1)
    assert told(picture, VOLUMES, impossible).startswith("has 2 dimensions")
    assert check_fit(picture, Compose([LOAD, impossible]), PICTURES) is not None  # the training tells


def test_what_cannot_be_read_is_left_to_the_check_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "d.png").write_bytes(b"no picture")
    assert check_fit(Case("d", (tmp_path / "d.png",), ()), Compose([LOAD]), PICTURES) is None


def test_an_inferer_that_cuts_slices_takes_volumes(tmp_path: Path) -> None:
    takes = {"num_channels": 1, "spatial_shape": ["*", "*"], "channel_def": {"0": "grey"}}
    metadata = {"network_data_format": {"inputs": {"image": takes}}}
    assert Taken.of(metadata, SimpleInferer(), str(tmp_path)) == PICTURES
    by_slices = Mirrored(Slices(SimpleInferer()))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "volumes.yaml").touch()
    assert Taken.of(metadata, by_slices, str(tmp_path)) == replace(VOLUMES, by_slices=True, has_layer=True)
