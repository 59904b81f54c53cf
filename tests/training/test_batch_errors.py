"""Batches that cannot be made are told in one line, whichever process finds out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset

from medseg.errors import ConfigError, ImageError, MedsegError
from medseg.training.batch_errors import Told, collated


def item(side: int) -> dict[str, torch.Tensor]:
    return {"image": torch.zeros(3, side, 8), "label": torch.zeros(1, side, 8)}


def damaged(_: Any) -> Any:
    try:
        raise ImageError("a.png: truncated")
    except ImageError as error:
        raise RuntimeError("applying transform") from error


def batches(dataset: Dataset, **others: Any) -> list[Any]:
    return list(DataLoader(Told(dataset), collate_fn=collated, batch_size=2, **others))


def test_batches_are_monais() -> None:
    (batch,) = batches(Dataset([[item(4), item(4)], [item(4)]], None))
    assert batch["image"].shape == (3, 3, 4, 8) and batch["label"].shape == (3, 1, 4, 8)


def test_images_of_different_sizes_are_told_with_what_to_do() -> None:
    (told,) = batches(Dataset([item(4), item(6)], None))
    assert isinstance(told, ConfigError)
    assert str(told).startswith(
        "the images of a batch are of 3 x 4 x 8 and of 3 x 6 x 8 (channels first) once they are preprocessed; let the"
    )


def test_images_of_different_channels_are_told_as_such() -> None:
    two = {"image": torch.zeros(2, 4, 8), "label": torch.zeros(1, 4, 8)}
    (told,) = batches(Dataset([{**two, "image": torch.zeros(1, 4, 8)}, two], None))
    assert str(told) == "the images of a batch are of 1 and of 2 channels; leave out the cases that differ"


def test_damaged_file_is_told_by_its_own_words() -> None:
    (told,) = batches(Dataset([0], damaged))
    assert isinstance(told, MedsegError) and str(told) == "a.png: truncated"


def test_damaged_file_met_by_a_worker_process_is_told_so_too() -> None:
    """In a process of its own: to fork the one that runs all tests, with its many threads, would end it."""
    program = (
        f"import runpy; of = runpy.run_path({__file__!r}); "
        "(told,) = of['batches'](of['Dataset']([0], of['damaged']), num_workers=1); print(repr(told))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "ImageError('a.png: truncated')\n", done.stderr


def test_what_no_user_caused_is_raised() -> None:
    with pytest.raises(RuntimeError, match="applying transform"):
        batches(Dataset([0], lambda _: 1 // 0))
