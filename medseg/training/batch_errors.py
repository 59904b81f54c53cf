"""A batch that the network or the loss cannot take, told to the user who chose the patches and the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from medseg.errors import ConfigError


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
