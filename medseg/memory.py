"""The memory of a device: what it has, what is free of it, and what this process holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `medseg doctor` asks for the machine's where torch does not load
    import torch

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_LIMIT_AND_USAGE = (  # in cgroups of version 2, and of version 1
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def total_memory(device: torch.device) -> int:
    """Bytes of memory that `device` has; of a CPU, `machine_memory`."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_properties(device).total_memory
    return machine_memory()


def machine_memory() -> int:
    """Bytes of main memory, as far as a container's or a batch system's limit allows them."""
    return min([_machine("MemTotal"), *(limit for limit, _ in _control_groups())])


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on `device`; of a CPU, what neither the machine nor such a limit forbids."""
    if device.type == "cuda":
        import torch

        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    return max(0, min([_machine("MemAvailable"), *(limit - used for limit, used in _control_groups())]))


def used_memory(device: torch.device) -> int:
    """Bytes that this process holds on `device`."""
    if device.type == "cuda":
        import torch

        return torch.cuda.memory_allocated(device)
    with suppress(OSError):
        return int((_PROC / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # not on Windows; the most so far, for want of what is held now

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _machine(what: str) -> int:
    with suppress(OSError):
        for line in (_PROC / "meminfo").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # no Linux: half of what there is


def _control_groups() -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of this process's control group and of all that hold it, where they have a limit."""
    for folder in _folders_of_groups():
        for limit, usage in _LIMIT_AND_USAGE:
            with suppress(OSError, ValueError):  # no such file, or "max": no limit
                yield int((folder / limit).read_text()), int((folder / usage).read_text()) - _file_pages(folder)


def _folders_of_groups() -> Iterator[Path]:
    """Some of them are not there within a container, whose own group is mounted as the outermost one."""
    mounts = {"": _CGROUP, "memory": _CGROUP / "memory"}  # likewise
    with suppress(OSError):
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            own = Path(path.lstrip("/"))
            for kind in mounts.keys() & kinds.split(","):
                yield from (mounts[kind] / each for each in (own, *own.parents))


def _file_pages(folder: Path) -> int:
    """The part of a group's use that is files' contents, which the kernel gives back when memory is wanted."""
    with suppress(OSError):
        sizes = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        whole = "total_" if "total_inactive_file" in sizes else ""  # version 1: with the groups within
        return sum(int(sizes.get(f"{whole}{name}", 0)) for name in ("inactive_file", "active_file"))
    return 0
