"""A bundle's weights on disk: a plain state dict, never half-written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medseg.errors import BundleError, reason
from medseg.files import replacing


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """Write the state dict of `network` (CPU tensors, plain names) to `path`, replacing it at once.

    Readable with `torch.load(path, weights_only=True)`.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    plain = getattr(network, "module", network)  # without DistributedDataParallel's prefix
    save_state({name: tensor.detach().cpu() for name, tensor in plain.state_dict().items()}, path)


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values to `path`, replacing it at once; readable with `weights_only=True`.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    with replacing(path) as beside:
        try:
            torch.save(state, beside)
        except RuntimeError as error:  # how torch reports a full disk
            raise OSError(str(error).splitlines()[0]) from error


def load_weights(network: torch.nn.Module, path: str | Path, device: str | torch.device = "cpu") -> None:
    """Load a state dict written by `save_weights` (or MONAI's `{"model": ...}` form) into `network`.

    Raises:
        BundleError: if the file is missing, is no checkpoint, or does not fit the network.
    """
    if not Path(path).is_file():
        raise BundleError(
            f"{path}: no weights there; train first (`medseg train BUNDLE --dataset_dir ...`) and give "
            "--checkpoint OUTPUT_DIR/models/model.pt"
        )
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise BundleError(f"{path}: not a readable checkpoint of weights; train again or fetch it anew") from error
    try:
        network.load_state_dict(state.get("model", state))
    except (RuntimeError, AttributeError, TypeError) as error:
        raise BundleError(f"{path}: these weights do not fit the bundle's network_def: {reason(error)}") from error
