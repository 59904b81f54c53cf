"""Copies of networks."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.utils._pytree import tree_leaves


def copied(network: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """A copy of a network with every tensor of it changed.

    `copy.deepcopy` refuses a network that keeps what it gave, as MONAI's DynUNet does with its heads in a training.
    """
    tensors = [
        each for module in network.modules() for each in tree_leaves(vars(module)) if isinstance(each, torch.Tensor)
    ]
    return copy.deepcopy(network, memo={id(each): _changed(each, change) for each in tensors})


def _changed(tensor: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    other = change(tensor.detach())
    return nn.Parameter(other, requires_grad=False) if isinstance(tensor, nn.Parameter) else other
