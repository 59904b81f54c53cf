"""Segmenting keeps to the memory that it may take, or says what it lacks before the network begins."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from medseg.bundle.run import run_bundle
from medseg.errors import ConfigError, MedsegError
from medseg.inference.budget import Budget
from medseg.memory import used_memory

CPU = torch.device("cpu")


def test_less_is_left_for_windows_of_larger_scans() -> None:
    budget = Budget(CPU, ram=100, vram=None)
    small, large = (budget.for_windows(torch.empty(1, n, 100, 100, device="meta"), n * 10**4) for n in (10, 1000))
    assert 0 < large < small < 100e9


def test_image_beside_the_windows_takes_four_bytes_a_channel_and_voxel() -> None:
    budget = Budget(CPU, ram=100, vram=None)
    small, large = (budget.for_windows(torch.empty(2, n, 100, 100, device="meta"), 10**6) for n in (10, 10**5))
    assert small - large == pytest.approx(4 * 2 * (10**5 - 10) * 10**4 / 1.25, rel=0.05)


def test_scan_that_does_not_fit_is_told_with_what_to_do() -> None:
    budget = Budget(CPU, ram=used_memory(CPU) / 1e9 + 1e-3, vram=None)
    with pytest.raises(MedsegError, match=r"ram \S+ GB: the scan of 1000000 voxels takes .* allow more with --ram"):
        budget.for_windows(torch.empty(1, 100, 100, 100, device="meta"), 10**6)


@pytest.mark.parametrize("limit", [0, -1, "much"])
def test_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigError, match="give a number of GB above 0"):
        Budget(CPU, ram=limit, vram=None)


def test_prediction_within_a_limit_too_small_ends_in_one_line(tiny_bundle: Path, phantom: Path, tmp_path: Path) -> None:
    given = {"input": str(phantom / "images" / "case_001.nii.gz"), "output_dir": str(tmp_path), "ram": 0.01}
    with pytest.raises(ConfigError, match=r"^ram 0\.01: this process holds \S+ GB before any scan; give more GB$"):
        run_bundle(tiny_bundle, "inference.yaml", overrides=given)


def test_what_will_be_held_is_told_and_again_when_it_is_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    budget = Budget(CPU, ram=100, vram=None)
    for needed in (None, 4e9, 3e9, 4.1e9, 9e9):
        budget.tell(needed, 1000)
    peaks = [float(line.split("about ")[1].split(" GB")[0]) for line in caplog.messages]
    assert len(peaks) == 2 and peaks[0] == pytest.approx(5 + used_memory(CPU) / 1e9, abs=0.1)
    assert "of 100.0 GB (ram)" in caplog.text
    with pytest.raises(MedsegError, match=r"^ram 100: about 12\d\.\d\d GB would be taken, .*; allow more with --ram$"):
        budget.tell(100e9, 1000)


def test_counting_components_is_told_where_it_takes_more_than_the_windows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Budget(CPU, ram=100, vram=None).tell(1e6, 10**9)
    peak = float(caplog.messages[0].split("about ")[1].split(" GB")[0])
    assert peak == pytest.approx(1 + 5 + used_memory(CPU) / 1e9, abs=0.1), "the label map, and 5 bytes a voxel"


def test_another_scan_is_read_beside_the_network_only_where_half_of_the_rest_holds_it() -> None:
    budget = Budget(CPU, ram=used_memory(CPU) / 1e9 + 2, vram=None)
    image = torch.empty(1, 100, 100, 100, device="meta")
    assert not budget.has_room_for(1.1e9)
    alone = budget.for_windows(image, 10**6)
    assert budget.has_room_for(0.8e9)
    assert alone - budget.for_windows(image, 10**6) == pytest.approx(0.8e9 / 1.25, rel=0.05)


def test_scan_that_its_spacing_makes_huge_is_told_before_it_is_resampled(
    tiny_bundle: Path, phantom: Path, tmp_path: Path
) -> None:
    scan = nib.load(phantom / "images" / "case_001.nii.gz")
    nib.save(nib.Nifti1Image(scan.get_fdata(), scan.affine @ np.diag([300, 300, 300, 1])), tmp_path / "a.nii.gz")
    given = {"input": str(tmp_path / "a.nii.gz"), "output_dir": str(tmp_path / "out")}
    with pytest.raises(MedsegError, match=r"a\.nii\.gz: has .* voxels at the bundle's spacing.*is its spacing right"):
        run_bundle(tiny_bundle, "inference.yaml", overrides=given)


def test_scan_that_cannot_be_held_is_not_read() -> None:
    budget = Budget(CPU, ram=used_memory(CPU) / 1e9 + 0.5, vram=None)
    budget.check_reading(5e7, "a.nii.gz")
    with pytest.raises(MedsegError, match=r"^a\.nii\.gz: has 1e\+09 voxels; to read them would take .* with --ram$"):
        budget.check_reading(1e9, "a.nii.gz")
