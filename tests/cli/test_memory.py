"""`medseg memory` as a person types it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
import torch

from medseg.cli.main import main

Run = Callable[..., tuple[str, str]]
BUNDLE = "retina_vessels_2d"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; gives stdout and stderr."""

    def run(*words: object, fails: bool = False) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["medseg", "memory", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code == 1) if fails else not ended.value.code, printed.err
        assert not fails or (printed.err.count("\n") == 1 and not printed.out), printed
        return printed.out, printed.err

    return run


def test_json_has_every_number(run: Run) -> None:
    out, err = run(
        *(BUNDLE, "--size", "61x64", "--size", "128x128", "--batch", 3, "--device", "cpu", "--precision", "bf16"),
        *("--limit", 0.1, "--limit", 0.2, "--json"),
    )
    told = json.loads(out)
    assert (told["bundle"], told["precision"]) == (BUNDLE, "bfloat16") and err == ""
    assert told["how"].startswith("counted on the CPU: tensors alive, without cuDNN workspaces")
    assert [(step["mode"], step["size"], step["computed_size"]) for step in told["steps"]] == [
        ("training", [61, 64], [64, 64]),
        ("inference", [61, 64], [64, 64]),
        ("training", [128, 128], [128, 128]),
        ("inference", [128, 128], [128, 128]),
    ]
    for step in told["steps"]:
        assert step["batch"] == 3
        line = step["fixed_mib"] + 3 * step["per_image_mib"]
        assert line <= step["step_mib"] + 0.01
        if step["size"] == [128, 128]:
            assert step["step_mib"] == pytest.approx(line, abs=0.01)
        small, large = step["largest_batch"]
        assert (small["limit_gib"], large["limit_gib"]) == (0.1, 0.2) and 0 < small["batch"] < large["batch"]
        assert large["batch"] == pytest.approx((0.2 * 1024 - step["fixed_mib"]) / step["per_image_mib"], abs=1)
        assert step["fixed_mib"] >= step["weights_mib"]
        assert (step["optimizer_mib"] > 2 * step["weights_mib"] * 0.99) == (step["mode"] == "training")


def test_table_tells_the_size_that_was_taken_and_how_it_was_found(run: Run) -> None:
    out, _ = run(BUNDLE, "--size", "61x64", "--device", "cpu", "--mode", "inference", "--limit", 0.1)
    assert "64x64" in out and "inference" in out and "training" not in out
    assert "61x64: the network does not take it; 64x64 is the next size that it does" in out
    assert "counted on the CPU" in out and "of 8" in out


def test_network_without_padding_takes_the_sizes_that_it_says(run: Run) -> None:
    out, _ = run("em_membranes_2d", "--size", "444x444", "--size", "512x512", "--device", "cpu", "--limit", 6, "--json")
    steps = json.loads(out)["steps"]
    assert {(step["mode"], tuple(step["computed_size"])) for step in steps} == {
        (mode, (side, side)) for mode in ("training", "inference") for side in (444, 524)
    }


def test_without_a_limit_it_is_the_machines_memory(run: Run) -> None:
    out, _ = run(BUNDLE, "--size", "64x64", "--device", "cpu", "--mode", "inference", "--json")
    (step,) = json.loads(out)["steps"]
    assert step["largest_batch"][0]["limit_gib"] > 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([BUNDLE, "--size", "abc"], "size 'abc': no size; give one such as 640x959"),
        ([BUNDLE, "--size", "64x64x64"], "has 3 dimensions, this bundle's network takes 2"),
        (["hippocampus_mri_3d", "--size", "64x64"], "has 2 dimensions, this bundle's network takes 3"),
        ([BUNDLE, "--size", "64x64", "--batch", "0"], "batch 0: give a whole number"),
        (["no_such", "--size", "64x64"], "no_such: no bundle there"),
    ],
)
def test_users_error_is_one_line(run: Run, words: list[str], message: str) -> None:
    told = run(*words, "--device", "cpu", fails=True)[1]
    assert told.startswith("medseg: error: ") and message in told


def test_gpu_that_is_not_there_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no CUDA GPU" in run(BUNDLE, "--size", "64x64", "--device", "cuda", fails=True)[1]
