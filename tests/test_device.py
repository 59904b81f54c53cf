"""The device and the number format of a run."""

from __future__ import annotations

import pytest
import torch

from medseg.device import autocast, check_device, cpu_computes_bf16, pick_device, pick_precision
from medseg.errors import ConfigError

CPU = torch.device("cpu")


def test_precision_follows_the_hardware_and_can_be_overridden() -> None:
    assert pick_precision(CPU) is (torch.bfloat16 if cpu_computes_bf16() else torch.float32)
    assert pick_precision(CPU, "fp32") is torch.float32
    assert pick_precision(CPU, "bf16") is torch.bfloat16


@pytest.mark.parametrize("wanted", ["fp16", "half", "fp64"])
def test_precision_that_does_not_go_is_named(wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"precision '{wanted}' on cpu"):
        pick_precision(CPU, wanted)


def test_autocast_casts_on_a_cpu_too() -> None:
    layer, data = torch.nn.Conv3d(2, 2, 3), torch.ones(1, 2, 4, 4, 4)
    with autocast(CPU, torch.bfloat16):
        assert layer(data).dtype is torch.bfloat16
    with autocast(CPU, torch.float32):
        assert layer(data).dtype is torch.float32


@pytest.mark.parametrize("device", ["gpu", "cuda:-1", 3.5, "mps"])
def test_unknown_device_is_named(device: object) -> None:
    with pytest.raises(ConfigError, match=f"device '{device}'"):
        check_device(device)  # type: ignore[arg-type]


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_cuda_without_a_number_is_the_gpu_of_this_process(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_device("cuda") == torch.device("cuda", 0) and check_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert check_device("cuda") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # as a launcher shows each process its own alone
    assert check_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for absent, rank in (("cuda:2", "0"), ("cuda", "2")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(ConfigError, match=r"there are 2 GPUs, counted from 0"):
            check_device(absent)


def test_full_precision_by_name_is_full_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert pick_precision(torch.device("cuda", 0), "fp32") is torch.float32
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there_is_named() -> None:
    assert pick_device() == CPU
    with pytest.raises(ConfigError, match="torch sees no CUDA GPU here"):
        check_device("cuda")
