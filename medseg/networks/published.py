"""Published weights: a state dict from a file or from where its authors put it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from medseg.errors import BundleError, reason

State = dict[str, torch.Tensor]


def read_state(path: str | Path) -> State:
    """The plain state dict in a file.

    Raises:
        BundleError: if there is no such file, or it holds anything but named tensors.
    """
    if not Path(path).is_file():
        raise BundleError(f"{path}: no weights there; give the path of a downloaded state dict")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleError(f"{path}: not a readable state dict; download it anew") from error
    return _checked(state, path)


def fetch_state(url: str, *, check_hash: bool) -> State:
    """The state dict at `url`, kept in torch's hub folder for the next time.

    Args:
        url: of the file.
        check_hash: compare the file with the start of its SHA-256 in its name.

    Raises:
        BundleError: if it cannot be fetched.
    """
    try:
        state = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=check_hash, weights_only=True
        )
    except Exception as error:
        raise BundleError(
            f"{url}: cannot be fetched ({reason(error)}); download it elsewhere and give its path"
        ) from error
    return _checked(state, url)


def load_state(module: torch.nn.Module, state: State, source: str | Path) -> None:
    """Load `state` into `module`, name by name.

    Raises:
        BundleError: if a name is missing, unknown or of another shape.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise BundleError(
            f"{source}: these weights do not fit the network: {reason(error)}; give those published for it"
        ) from error


def _checked(state: Any, source: str | Path) -> State:
    if not isinstance(state, dict) or not all(isinstance(each, torch.Tensor) for each in state.values()):
        raise BundleError(f"{source}: not a state dict of named tensors; save `model.state_dict()` alone")
    return dict(state)
