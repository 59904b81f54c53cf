"""Weights come back as they were written, and what is no checkpoint is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medseg.bundle.weights import load_weights, save_weights
from medseg.errors import BundleError


def test_weights_are_read_with_weights_only(tmp_path: Path) -> None:
    network, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    save_weights(network, tmp_path / "models" / "model.pt")
    assert set(torch.load(tmp_path / "models" / "model.pt", weights_only=True)) == {"weight", "bias"}
    load_weights(other, tmp_path / "models" / "model.pt")
    assert torch.equal(network.weight, other.weight)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["model.pt"]


def test_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.pt: no weights there; train first"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "model.pt")


def test_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("not a checkpoint")
    with pytest.raises(BundleError, match=r"model\.pt: not a readable checkpoint"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "model.pt")


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    save_weights(torch.nn.Linear(3, 2), tmp_path / "model.pt")
    with pytest.raises(BundleError, match=r"do not fit the bundle's network_def: .*size mismatch"):
        load_weights(torch.nn.Linear(4, 2), tmp_path / "model.pt")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import torch
from medseg.bundle.weights import save_weights
from medseg.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # as a full disk: no file may grow past this
try:
    save_weights(torch.nn.Linear(300, 300), Path(sys.argv[1]))
except OutputError as error:
    print(error)
"""


def test_full_disk_is_one_clear_error_and_leaves_the_old_weights(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    target.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(target)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{target}: cannot be written")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
