"""Which model made a segmentation: a bundle's name and version, and a digest of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from medseg.inference.restoring.decision import Decision


def model_identity(metadata: Mapping[str, Any], network: torch.nn.Module, decision: Decision) -> str:
    """Such as `hippocampus_mri_3d 0.1.0 5f0c1a2b3c4d`: the same weights and decision give the same on any device."""
    digest = hashlib.sha256(repr(decision).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"{metadata['name']} {metadata['version']} {digest.hexdigest()[:12]}"
