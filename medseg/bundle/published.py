"""Published weights of a bundle's network, made the bundle's own."""

from __future__ import annotations

from pathlib import Path

from medseg.bundle.trained import trained
from medseg.bundle.weights import save_weights
from medseg.errors import BundleError


def take_published(bundle: Path, source: str, target: Path | None = None) -> Path:
    """Write the weights that a bundle's network starts from when given `source`; returns where they are.

    Args:
        bundle: its folder.
        source: as `load_published` of the network takes it: a file, or `hub`.
        target: the file to write; None for the bundle's `models/model.pt`.

    Raises:
        BundleError: if the network has no published weights, or `source` cannot be had or does not fit.
        OutputError: if the file cannot be written.
    """
    network = trained(str(bundle)).get_parsed_content("network_def")
    if not hasattr(network, "load_published"):
        raise BundleError(f"{bundle}: there are no published weights for its network, {type(network).__name__}")
    network.load_published(source)
    path = target or bundle / "models" / "model.pt"
    save_weights(network, path)
    return path
