"""The memory that a process may take, on a machine and within a container's limit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medseg import memory

CPU = torch.device("cpu")
GIB = 2**30
V2 = {
    "proc/self/cgroup": "0::/slurm/job_7\n",
    "cgroup/slurm/memory.max": "max\n",
    "cgroup/slurm/memory.current": f"{9 * GIB}\n",
    "cgroup/slurm/job_7/memory.max": f"{8 * GIB}\n",
    "cgroup/slurm/job_7/memory.current": f"{7 * GIB}\n",
    "cgroup/slurm/job_7/memory.stat": f"anon {2 * GIB}\ninactive_file {4 * GIB}\nactive_file {GIB}\n",
}
V1 = {
    "proc/self/cgroup": "4:cpu,memory:/docker/abc\n0::/\n",
    "cgroup/memory/memory.limit_in_bytes": f"{6 * GIB}\n",
    "cgroup/memory/memory.usage_in_bytes": f"{5 * GIB}\n",
    "cgroup/memory/memory.stat": f"inactive_file 0\ntotal_inactive_file {2 * GIB}\ntotal_active_file {GIB}\n",
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders that Linux tells of a machine of 32 GiB in, of which 20 are free; without control groups."""
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "cgroup")
    written(tmp_path, {"proc/meminfo": f"MemTotal: {32 * 2**20} kB\nMemAvailable: {20 * 2**20} kB\n"})
    return tmp_path


def written(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_without_a_limit_the_machine_counts(machine: Path) -> None:
    assert (memory.total_memory(CPU), memory.free_memory(CPU)) == (32 * GIB, 20 * GIB)


@pytest.mark.parametrize(("files", "total", "free"), [(V2, 8, 6), (V1, 6, 4)], ids=["version 2", "version 1"])
def test_a_limit_counts_and_files_that_the_kernel_keeps_do_not(
    machine: Path, files: dict[str, str], total: int, free: int
) -> None:
    written(machine, files)
    assert (memory.total_memory(CPU), memory.free_memory(CPU)) == (total * GIB, free * GIB)


def test_a_limit_around_the_own_group_counts_too(machine: Path) -> None:
    written(machine, V2 | {"cgroup/memory.max": f"{3 * GIB}\n", "cgroup/memory.current": f"{GIB}\n"})
    assert (memory.total_memory(CPU), memory.free_memory(CPU)) == (3 * GIB, 2 * GIB)


def test_this_machine_has_memory() -> None:
    before = memory.used_memory(CPU)
    held = torch.ones(50_000_000)
    assert 0.9 * held.nbytes < memory.used_memory(CPU) - before < 1.25 * held.nbytes
    assert 0 < memory.free_memory(CPU) <= memory.total_memory(CPU)
