"""The device a run computes on, and the number format it gains from."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any

import torch

from medseg.errors import ConfigError

_FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device() -> torch.device:
    """This process's GPU (by `LOCAL_RANK` under torchrun) where there is one, else the CPU."""
    if torch.cuda.is_available():
        several = torch.cuda.device_count() > 1  # a launcher may show each process its own alone
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) if several else 0)
    return torch.device("cpu")


def check_device(device: str | torch.device) -> torch.device:
    """The device meant by a config's `device`; of `cuda` this process's GPU, as of `pick_device`.

    Raises:
        ConfigError: if torch knows no such device or this machine has none.
    """
    try:
        checked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device '{device}' is not known; use 'cpu', 'cuda' or 'cuda:N'") from error
    if checked.type not in ("cpu", "cuda"):
        raise ConfigError(f"device '{device}' is not supported; use 'cpu', 'cuda' or 'cuda:N'")
    if checked.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device '{device}': torch sees no CUDA GPU here; use --device cpu or see `medseg doctor`")
    if checked.type == "cuda" and checked.index is None:
        checked = pick_device()
    if checked.type == "cuda" and checked.index >= torch.cuda.device_count():
        raise ConfigError(f"device '{device}': there are {torch.cuda.device_count()} GPUs, counted from 0")
    return checked


def pick_precision(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """The number format for autocast on `device`; float32 means: no autocast.

    `auto` takes bf16 where the hardware computes in it (CUDA from compute capability 8.0; CPUs with
    AVX512-BF16 or AMX), fp16 on older CUDA GPUs, else fp32: elsewhere bf16 is emulated and slower. `fp32` by name
    is that in full: it switches off TF32 for this process, in which CUDA multiplies 10 bits of 23.

    Raises:
        ConfigError: if `wanted` is none of auto, fp32, bf16, fp16, or is fp16 on a CPU.
    """
    if wanted == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
        return torch.bfloat16 if device.type == "cpu" and cpu_computes_bf16() else torch.float32
    if wanted not in _FORMATS or (wanted == "fp16" and device.type == "cpu"):
        raise ConfigError(f"precision '{wanted}' on {device.type}: use auto, fp32, bf16, or fp16 on CUDA")
    if wanted == "fp32" and device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return _FORMATS[wanted]


def cpu_computes_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """Autocast to `precision`; nothing for float32. MONAI's `amp=True` casts on CUDA only."""
    return torch.autocast(device.type, dtype=precision, enabled=precision is not torch.float32)


def plain_tensor(value: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`value` on `device` as a plain tensor: a MONAI `MetaTensor` slows every operation of a network down."""
    return value.as_subclass(torch.Tensor).to(device, non_blocking=True)
