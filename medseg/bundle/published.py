"""Published weights of a bundle's network, made the bundle's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medseg.bundle.trained import trained
from medseg.errors import BundleError

if TYPE_CHECKING:  # importing it takes a second, and every command would
    import torch


def load_published(network: torch.nn.Module, source: str) -> None:
    """Load the published weights of a network into it.

    Args:
        network: of a kind that has some.
        source: as its own `load_published` takes it: a file, or `hub`.

    Raises:
        BundleError: if the network has no published weights, or `source` cannot be had or does not fit.
    """
    load = getattr(network, "load_published", None)
    if load is None:
        raise BundleError(
            f"'{source}': there are no published weights for this network, {type(network).__name__}; choose another "
            "by a layer of the bundle, or leave them out"
        )
    load(source)


def take_published(bundle: Path, source: str, target: Path | None = None) -> Path:
    """Write the weights that a bundle's network starts from when given `source`; returns where they are.

    Args:
        bundle: its folder.
        source: a file, or `hub`.
        target: the file to write; None for the bundle's `models/model.pt`.

    Raises:
        BundleError: if the network has no published weights, or `source` cannot be had or does not fit.
        OutputError: if the file cannot be written.
    """
    from medseg.bundle.weights import save_weights

    network = trained(str(bundle)).get_parsed_content("network_def")
    load_published(network, source)
    path = target or bundle / "models" / "model.pt"
    save_weights(network, path)
    return path
