"""`medseg` as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from medseg import __version__
from medseg.cli.main import app
from medseg.cli.run import measure_lines
from medseg.images import Geometry, write_labels


def medseg(*words: str | Path) -> subprocess.CompletedProcess[str]:
    ask = "from medseg.cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", ask, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "pack", "phantom", "demo", "memory", "doctor"])
def test_help_tells_what_a_command_does_and_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Example: medseg" in result.output


def test_demo_leaves_folders_that_no_demo_made(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "mine.txt").touch()
    done = medseg("demo", tmp_path)
    assert done.returncode == 1 and "training: is there already, and no earlier demo made it" in done.stderr
    assert (tmp_path / "training" / "mine.txt").is_file()


def test_console_without_the_letters_or_the_room_ends_in_no_traceback(tmp_path: Path) -> None:
    write_labels(tmp_path / "Schädel.nii.gz", np.zeros((3, 3, 3), np.uint8), Geometry((3, 3, 3), np.eye(4)))
    words = [sys.executable, "-c", "from medseg.cli.main import main; main()", "inspect", str(tmp_path)]
    narrow = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True)
    assert b"Sch\\xe4del" in narrow.stdout
    if Path("/dev/full").exists():
        for at_once in ("", "1"):
            env = {**os.environ, "PYTHONUNBUFFERED": at_once}
            with Path("/dev/full").open("w") as full:
                done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=env)
            assert done.returncode == 1
            assert done.stderr.splitlines() == ["medseg: error: standard output: No space left on device"]


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"medseg {__version__}\n"


def test_prediction_as_json(tiny_bundle: Path, phantom: Path, tmp_path: Path) -> None:
    done = medseg(
        *("predict", tiny_bundle, "--input", phantom / "images" / "case_001.nii.gz"),
        *("--output_dir", tmp_path, "--json"),
    )
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert record["case"] == "case_001"
    assert "warning" not in done.stderr.lower().replace("  warning: no ", ""), "libraries keep their notices"


def test_prediction_takes_several_inputs_and_overrides_between(
    tiny_bundle: Path, phantom: Path, tmp_path: Path
) -> None:
    first, second = (phantom / "images" / f"case_{number:03d}.nii.gz" for number in (1, 2))
    done = medseg("predict", tiny_bundle, first, "--save_probabilities", "true", second, "-o", tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        assert (tmp_path / f"case_{number:03d}_probabilities.nii.gz").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "no_such"], "no_such: no bundle there"),
        (["train", "phantom_ct_3d"], "no dataset given: use --dataset_dir"),
        (["train", "phantom_ct_3d", "--max_epoch", "3"], "unknown override --max_epoch; did you mean 'max_epochs'?"),
        (["train", "phantom_ct_3d", "--layer", "smok"], "smok: no layer of that name"),
        (["predict", "phantom_ct_3d", "--input", __file__], "no weights there; train first"),
        (["pack", "phantom_ct_3d", "-o", "/proc/x.zip"], "models/model.pt: missing"),
    ],
)
def test_users_error_is_one_line_and_status_1(words: list[str], message: str, tmp_path: Path) -> None:
    extra = ["--output_dir", str(tmp_path)] if words[0] == "train" else []
    done = medseg(*words, *extra)
    assert done.returncode == 1
    assert done.stderr.startswith("medseg: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


def test_measures_are_told_a_line_for_each_structure() -> None:
    estimate = {"value": 0.97, "interval": [0.9, 1.0]}
    found = {"accuracy": estimate, "slices": 6, "structures": {"vessel": {"f_score": estimate, "iou": {"value": None}}}}
    assert list(measure_lines(found, "pixels")) == [
        "pixels: accuracy 0.970, slices 6",
        "pixels structures vessel: f_score 0.970",
    ]


class StoppedError(Exception):
    """Before anything is run."""


COMMON = {"dataset_dir": "d", "output_dir": "o", "device": "cpu"}


@pytest.mark.parametrize(
    ("command", "words", "config", "run_id", "overrides"),
    [
        ("train", ["--max_epochs", "3", "--fold", "all", "--seed", "7", "--resume"], "train.yaml", "run",
         {"max_epochs": 3, "fold": "all", "seed": 7, "resume": True}),
        ("evaluate", ["--fold", "2", "--checkpoint", "a.pt"], "evaluate.yaml", "run",
         {"fold": 2, "checkpoint": "a.pt"}),
        ("tune", ["--fold", "2", "--checkpoint", "a.pt"], "evaluate.yaml", "tune", {"fold": 2, "checkpoint": "a.pt"}),
        ("evaluate", ["--checkpoint", "a.pt", "--checkpoint", "b.pt", "--folds::count", "3"], "evaluate.yaml", "run",
         {"checkpoint": ["a.pt", "b.pt"], "folds::count": 3}),
    ],
)  # fmt: skip
def test_every_option_reaches_the_bundle(
    monkeypatch: pytest.MonkeyPatch, command: str, words: list[str], config: str, run_id: str, overrides: dict[str, Any]
) -> None:
    seen: dict[str, Any] = {}

    def run_bundle(folder: Path, config: str, **given: Any) -> None:
        seen.update(given, folder=folder.name, config=config)
        raise StoppedError

    monkeypatch.setattr("medseg.cli.run.run_bundle", run_bundle)
    shared = [word for name, value in COMMON.items() for word in (f"--{name}", value)]
    result = CliRunner().invoke(app, [command, "phantom_ct_3d", *shared, *words])
    assert isinstance(result.exception, StoppedError), result.output
    assert (seen["folder"], seen["config"], seen["run_id"]) == ("phantom_ct_3d", config, run_id)
    assert seen["overrides"] == COMMON | overrides
