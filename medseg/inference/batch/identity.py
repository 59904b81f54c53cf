"""Which model made a segmentation: a bundle's name and version, and a digest of the weights and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch


def model_identity(metadata: Mapping[str, Any], network: torch.nn.Module, settings: str) -> str:
    """Such as `hippocampus_mri_3d 0.1.0 5f0c1a2b3c4d`: the same weights and settings give the same on any device.

    Args:
        metadata: of the bundle.
        network: with its weights.
        settings: what else makes other labels of the same scan: thresholds, postprocessing, a cascade's first model.
    """
    digest = hashlib.sha256(settings.encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"{metadata['name']} {metadata['version']} {digest.hexdigest()[:12]}"
