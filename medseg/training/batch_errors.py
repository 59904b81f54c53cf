"""A batch that cannot be made, or that the network or the loss cannot take, told to the user who chose the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from monai.data import Dataset, list_data_collate
from monai.utils.enums import CommonKeys as Keys

from medseg.errors import ConfigError, MedsegError, user_error_in


class Told(torch.utils.data.Dataset[Any]):
    """A dataset that gives a `MedsegError` in the place of an item that cannot be had.

    A worker process cannot raise one: torch makes a text of it, traceback and all.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except Exception as error:
            mine = user_error_in(error)
            if mine is None:
                raise
            return mine


def collated(items: Sequence[Any]) -> Any:
    """A batch of what `Told` gave, or the `MedsegError` that there is instead of one."""
    told = next((item for item in items if isinstance(item, MedsegError)), None)
    if told is not None:
        return told
    patches: list[Mapping[str, Any]] = [each for item in items for each in (item if isinstance(item, list) else [item])]
    for key in (Keys.IMAGE, Keys.LABEL):
        shapes = list(dict.fromkeys(tuple(each[key].shape) for each in patches if key in each))
        if len(shapes) > 1:
            if len({each[0] for each in shapes}) > 1:
                counts = " and of ".join(dict.fromkeys(f"{each[0]}" for each in shapes))
                return ConfigError(f"the {key}s of a batch are of {counts} channels; leave out the cases that differ")
            sizes = " and of ".join(" x ".join(map(str, each)) for each in shapes[:2])
            return ConfigError(
                f"the {key}s of a batch are of {sizes} (channels first) once they are preprocessed; let the "
                "augmentation crop or pad them to patch_size, or give --train::trainer::batch_size 1"
            )
    return list_data_collate(items)


@contextmanager
def told_of_batch(image: torch.Tensor) -> Iterator[None]:
    """Around a network's or loss's call on a batch `(N, C, patch...)`: what they refuse becomes a `ConfigError`.

    Raises:
        ConfigError: with the batch's shape and the first line of what was refused, or that memory was short.
    """
    shape = f"a batch of {image.shape[0]} x {image.shape[1]} channels of {' x '.join(map(str, image.shape[2:]))}"
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"{shape} does not fit into memory: lower patch_size or train::trainer::batch_size; "
            "`medseg memory BUNDLE --size ...` tells what fits"
        ) from error
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"the network or the loss cannot take {shape}: {reason}; check patch_size, "
            "and whether the images have the channels and dimensions that the bundle takes"
        ) from error
