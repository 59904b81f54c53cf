"""Everything that must hold before the first epoch: processes, seed, a place to write."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.dummy import DummyProcess
from pathlib import Path

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from monai.utils import set_determinism

from medseg.device import check_device
from medseg.errors import ConfigError, OutputError
from medseg.files import check_output_dir

_PATIENCE_S = 60


def prepare(
    *,
    seed: int,
    max_epochs: int,
    output_dir: str,
    device: str | torch.device,
    distributed: bool = False,
    free_mib: int = 512,
) -> None:
    """Join the other processes, seed every random source, and try that `output_dir` can be written.

    To be an `initialize` expression: the weights are drawn when the network is built, after this.

    Args:
        seed: for Python, NumPy, torch and MONAI.
        max_epochs: looked at here, before a schedule is built of it.
        output_dir: made if absent; `free_mib` MiB (weights, the state to go on from, pictures) must be free there.
        device: checked to exist; its type chooses nccl or gloo.
        distributed: whether this is one of several processes started by torchrun.

    Raises:
        ConfigError: for a seed, max_epochs or device that does not fit, or torchrun without the layer for it.
        OutputError: for a folder that cannot be written, or a full disk.
    """
    atexit.register(_wait_for_readers)
    _join_processes(check_device(device), distributed)
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed {seed!r}: give a whole number from 0 to 4294967295")
    at_least_one(max_epochs=max_epochs)
    set_determinism(seed)
    check_output_dir(output_dir, free_mib=free_mib)


@contextmanager
def alone_in(output_dir: Path) -> Iterator[None]:
    """Keep every other training out of a folder.

    Raises:
        OutputError: if another is at work there.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output_dir / ".training.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"output_dir {output_dir}: another training is at work there; wait for it, or choose another"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _wait_for_readers() -> None:
    """MONAI's `CacheDataset` leaves threads at work when one fails; ended amid C++ code they abort the process."""
    for thread in threading.enumerate():
        if isinstance(thread, DummyProcess):
            thread.join(_PATIENCE_S)


def _join_processes(device: torch.device, distributed: bool) -> None:
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1 and not distributed:
        raise ConfigError(
            f"torchrun started {world} processes, which would train apart and overwrite each other's checkpoints; "
            "add the layer configs/multi_gpu.yaml"
        )
    if not distributed or dist.is_initialized():
        return
    if "RANK" not in os.environ:
        raise ConfigError(
            "configs/multi_gpu.yaml needs several processes: start with "
            "torchrun --nproc_per_node=2 -m monai.bundle run ..."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def at_least_one(**values: object) -> None:
    """Raise `ConfigError` for the first value that is no whole number of at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} {value!r}: give a whole number of at least 1")


def rank() -> int:
    """This process's number among those that train together; 0 where there is one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def leave_processes() -> None:
    """Leave the process group, if one was joined."""
    if dist.is_initialized():
        dist.destroy_process_group()
