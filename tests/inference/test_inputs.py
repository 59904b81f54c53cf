"""What a user names as input becomes cases, channels gathered where the bundle takes several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.errors import ImageError
from medseg.images import Geometry, write_volume
from medseg.inference import find_inputs


def metadata(channels: int) -> dict[str, Any]:
    return {"network_data_format": {"inputs": {"image": {"num_channels": channels}}}}


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
