"""Convolutions of single windows on the CPU, always by oneDNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = {torch.conv2d: 2, torch.conv3d: 3}


class Onednn(TorchFunctionMode):
    """While it is entered, fp32 convolutions of one image on the CPU are computed by oneDNN.

    Left alone, torch decides by size (`use_mkldnn` in ATen/native/Convolution.cpp): a batch of 1 whose first
    four sizes multiply to 20480 or less goes to `slow_conv3d`, which takes 2 to 8 times as long. It makes no
    difference where oneDNN is chosen anyway: at larger batches, at other number formats, on other devices.

    Every convolution is caught, a module's and one that a network's `forward` calls by itself.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _CONVOLUTIONS and not torch.is_autocast_enabled("cpu"):  # which casts later than this, to oneDNN
            return _convolution(_CONVOLUTIONS[func], func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _convolution(
    dims: int,
    func: Callable[..., Any],
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    single = input.ndim == dims + 2 and len(input) == 1 and input.numel() > 0
    plain = input.device.type == "cpu" and input.dtype == weight.dtype == torch.float32
    if not (single and plain and torch.backends.mkldnn.is_available()):
        return func(input, weight, bias, stride, padding, dilation, groups)
    stride, dilation = _each(stride, dims), _each(dilation, dims)
    if padding == "valid":
        padding = 0
    elif padding == "same":  # with a stride of 1; the last side takes what is odd, as in torch
        total = [by * (size - 1) for by, size in zip(dilation, weight.shape[2:], strict=True)]
        input = torch.nn.functional.pad(input, [side % 2 * end for side in reversed(total) for end in (0, 1)])
        padding = [side // 2 for side in total]
    return torch.mkldnn_convolution(input, weight, bias, _each(padding, dims), stride, dilation, groups)


def _each(value: Any, dims: int) -> list[int]:
    values = [value] * dims if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values
