"""Memory and disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from medseg.doctor.finding import Finding
from medseg.memory import machine_memory

_GIB = 2**30
_ENOUGH_MEMORY = 8 * _GIB  # a whole-body CT with some tens of classes fits
_ENOUGH_DISK = 5 * _GIB  # a few runs with their checkpoints fit


def memory() -> Finding:
    """The processor's cores and memory."""
    total = machine_memory()
    value = f"{os.cpu_count()} cores, {total / _GIB:.0f} GiB"
    if total < _ENOUGH_MEMORY:
        return Finding("memory", value, "large scans may not fit: use a machine with 8 GiB or more")
    return Finding("memory", value)


def disk() -> Finding:
    """The free space where runs are written by default, the working directory."""
    free = shutil.disk_usage(Path.cwd()).free
    value = f"{free / _GIB:.0f} GiB free in {Path.cwd()}"
    if free < _ENOUGH_DISK:
        return Finding("disk", value, "free some space, or write to another disk with --output_dir")
    return Finding("disk", value)
