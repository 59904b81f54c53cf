"""A network with the work taken out that inference does not need."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medseg.networks.copying import copied

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
_INSTANCE_NORMS = (nn.InstanceNorm2d, nn.InstanceNorm3d)


def lightened(network: nn.Module, device: torch.device, precision: torch.dtype) -> nn.Module:
    """A copy of `network` (in eval mode) on `device` that computes the same, to rounding, in less time.

    Batch normalisation is folded into the convolution before it. On the CPU, instance normalisation is done by
    `group_norm`, which is faster; and the weights are laid out as `layout` tells.
    """
    memory_format = layout(network, device, precision)
    network = copied(network, torch.clone).eval()
    _fold_batch_norms(network)
    if device.type == "cpu":
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, _INSTANCE_NORMS) and not child.track_running_stats:
                    setattr(parent, name, _ChannelNorm(child))
    if memory_format is not torch.contiguous_format:
        for module in network.modules():
            if isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)):
                module.to(memory_format=memory_format)  # type: ignore[call-overload]
    return network.to(device)


def layout(network: nn.Module, device: torch.device, precision: torch.dtype) -> torch.memory_format:
    """How windows and weights lie in memory: channels-last on the CPU, where oneDNN is faster so.

    Not with instance or group normalisation in fp32: torch's channels-last `group_norm` adds up one by one, and loses
    three digits over a window of 128 x 128 x 128.
    """
    kinds = {type(module) for module in network.modules()}
    if device.type != "cpu" or (precision is torch.float32 and not kinds.isdisjoint((*_INSTANCE_NORMS, nn.GroupNorm))):
        return torch.contiguous_format
    if any(isinstance(module, nn.Conv3d) for module in network.modules()):
        return torch.channels_last_3d
    pictures = any(isinstance(module, nn.Conv2d) for module in network.modules())
    return torch.channels_last if pictures else torch.contiguous_format


class _ChannelNorm(nn.Module):
    """Instance normalisation by `group_norm`, each channel a group."""

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return F.group_norm(maps, maps.shape[1], self.weight, self.bias, self.eps)


class _Tracer(torch.fx.Tracer):
    """Follows the modules of its own thread: torch puts it in the place of every module's call, while the next scan is
    being resampled in another thread, by a module too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What the module says, by a node of the graph where it is the network's."""
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def _fold_batch_norms(network: nn.Module) -> None:
    """Fold every batch norm into its convolution, where the graph shows that it alone reads what that gives."""
    try:
        graph = _Tracer().trace(network)
    except Exception:  # whatever a network's own forward raises when it is followed symbolically
        return
    modules = dict(network.named_modules())
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, torch.fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        names = str(before.target), str(node.target)
        convolution, norm = (modules[name] for name in names)
        if any(calls[name] > 1 for name in names) or not _foldable(convolution, norm):
            continue
        fused = fuse_conv_bn_eval(convolution, norm, transpose=type(convolution) in _TRANSPOSED)
        for name, module in zip(names, (fused, nn.Identity()), strict=True):
            network.set_submodule(name, module)


def _foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    fixed = type(norm) in _BATCH_NORMS and bool(norm.track_running_stats)
    return fixed and type(convolution) in (*_CONVOLUTIONS, *_TRANSPOSED)
