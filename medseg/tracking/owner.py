"""Which process a run belongs to, and whether that process still lives.

A training ended by `kill -9` cannot mark its own run. The next one on the same machine does it instead,
and for that must know the dead from the living without doubt, process numbers being used again.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

_PROC = Path("/proc")


def machine() -> str:
    """Return what tells this machine, or container, from others, without giving its name away."""
    try:
        # Two containers on one host share its name at times; their process numbers are not comparable.
        namespace = str((_PROC / "self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return _short(f"{platform.node()} {namespace}")


def this_process() -> str:
    """Return `machine:number:birth` of this process; the birth is empty where there is no `/proc`."""
    return f"{machine()}:{os.getpid()}:{_birth(os.getpid()) or ''}"


def has_ended(owner: str) -> bool:
    """Whether the process that wrote `owner` (see `this_process`) has ended for certain."""
    where, _, rest = owner.partition(":")
    number, _, birth = rest.partition(":")
    if where != machine() or not birth or not number.isdecimal() or _birth(os.getpid()) is None:
        return False
    return _birth(int(number)) != birth


def _birth(number: int) -> str | None:
    """Of a living process: its start in clock ticks since boot, and which boot that was (proc(5))."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
        # The command in front, in parentheses, may hold blanks and parentheses itself.
        fields = (_PROC / str(number) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    state, start = fields[0], fields[19].decode()
    return None if state in (b"Z", b"X") else _short(f"{boot.strip()} {start}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
