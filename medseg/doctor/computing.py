"""What torch computes on, and how fast the operation is that everything hangs on."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time

import torch

from medseg.device import autocast, cpu_computes_bf16, pick_precision
from medseg.doctor.finding import Finding
from medseg.doctor.versions import tested_versions

_GIB = 2**30
_TOO_SLOW = 1.5  # autocast is there to be faster: this many times slower is a fault of the torch release


def devices() -> list[torch.device]:
    """The CPU and every GPU that torch sees."""
    return [torch.device("cpu"), *(torch.device("cuda", index) for index in range(torch.cuda.device_count()))]


def gpu() -> Finding:
    """Every GPU with its memory; amiss if the machine has one that torch does not see."""
    if torch.cuda.is_available():
        return Finding("GPU", "; ".join(map(_describe, range(torch.cuda.device_count()))))
    if not _driver_sees_a_gpu():
        return Finding("GPU", "none, all is computed on the CPU")
    if torch.version.cuda is None:
        mend = f"install torch's CUDA build: pip install --force-reinstall torch==={_tested_torch()}"
    else:
        mend = f"update the driver, or install a torch for an older CUDA than {torch.version.cuda}"
    return Finding("GPU", f"there is one, but torch {torch.__version__} does not see it", mend)


def bf16() -> Finding:
    """Which devices compute in bfloat16, the number format that trainings and predictions then pick."""
    words = [f"CPU {'yes' if cpu_computes_bf16() else 'no'} ({torch.backends.cpu.get_cpu_capability()})"]
    for device in devices()[1:]:
        words.append(f"{device} {'yes' if pick_precision(device) is torch.bfloat16 else 'no, fp16 instead'}")
    return Finding("bf16", ", ".join(words))


def conv3d(device: torch.device) -> Finding:
    """A 3D convolution forward and backward on `device`, timed in float32 and under autocast."""
    name = f"conv3d {device}"
    precision = pick_precision(device)
    try:
        plain = _milliseconds(device, torch.float32)
        cast = plain if precision is torch.float32 else _milliseconds(device, precision)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        return Finding(name, f"fails: {reason}", f"install the tested torch {_tested_torch()}", broken=True)
    if precision is torch.float32:
        return Finding(name, f"{plain:.1f} ms in fp32, no autocast")

    ratio = cast / plain
    value = f"{plain:.1f} ms in fp32, {cast:.1f} ms under autocast ({ratio:.2f} times)"
    if ratio > _TOO_SLOW:
        return Finding(name, value, f"install the tested torch {_tested_torch()}, or use precision fp32")
    return Finding(name, value)


def _milliseconds(device: torch.device, precision: torch.dtype) -> float:
    """The median over five rounds of a layer as in the middle of a U-Net, after one round to warm up."""
    edge = 96 if device.type == "cuda" else 40
    layer = torch.nn.Conv3d(16, 32, kernel_size=3, padding=1).to(device)
    image = torch.rand(2, 16, edge, edge, edge, device=device, requires_grad=True)
    rounds = []
    for _ in range(6):
        _wait_for(device)
        start = time.perf_counter()
        with autocast(device, precision):
            out = layer(image)
        torch.autograd.backward(out.float().mean())
        _wait_for(device)
        rounds.append(time.perf_counter() - start)
    return 1000 * statistics.median(rounds[1:])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _describe(index: int) -> str:
    free, total = torch.cuda.mem_get_info(index)
    return f"{torch.cuda.get_device_name(index)}, {free / _GIB:.0f} of {total / _GIB:.0f} GiB free"


def _driver_sees_a_gpu() -> bool:
    command = shutil.which("nvidia-smi")
    return command is not None and subprocess.run([command, "-L"], capture_output=True).returncode == 0


def _tested_torch() -> str:
    return str(tested_versions()["torch"])
