"""Every command of the README runs as it stands, on real data, with trainings cut short."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```bash\n(.*?)^```", (REPOSITORY / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
# Python's own words for the programs, so that the commands run in whatever environment the tests do.
PROGRAMS = {
    "medseg": ["-c", "from medseg.cli.main import main; main()"],
    "python": [],
    "torchrun": ["-m", "torch.distributed.run"],
}
SHORT = {"train.yaml": ["--max_cases", "10", "--max_epochs", "1", "--train::trainer::epoch_length", "2"]}


@pytest.fixture(scope="module")
def place(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the commands name: a checkout's folders, a few real cases, a DICOM series."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("bundles", "configs"):
        (folder / name).symlink_to(REPOSITORY / name)
    for name, source in (("imagesTr", "images"), ("labelsTr", "labels")):
        (folder / "Task04_Hippocampus" / name).mkdir(parents=True)
        for file in sorted((data_dir / "hippocampus" / source).iterdir())[:10]:
            (folder / "Task04_Hippocampus" / name / file.name).symlink_to(file)
    (folder / "dicom_series").symlink_to(data_dir / "dicom_qa" / "hippocampus_crop_study1" / "dicom")
    return folder


def words_of(command: str) -> list[str]:
    program, *words = shlex.split(command)
    training = "train.yaml" in command or words[0] == "train"
    return [sys.executable, *PROGRAMS[program], *words, *(SHORT["train.yaml"] if training else [])]


def test_readme_shows_the_commands() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("command", [each for each in COMMANDS if each != "mlflow ui"])
def test_command_runs(command: str, place: Path) -> None:
    if "torchrun" in command:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    done = subprocess.run(words_of(command), cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_mlflow_ui_shows_the_runs(place: Path) -> None:
    """After the commands above: plain `mlflow ui` in the same folder serves their experiment."""
    assert "mlflow ui" in COMMANDS
    url = "http://127.0.0.1:5077"
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", "--port", "5077", "--workers", "1"],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(
                    f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=hippocampus_mri_3d", timeout=10
                ) as answer:
                    assert b"hippocampus_mri_3d" in answer.read()
                    return
            except OSError:
                assert time.monotonic() < deadline, "mlflow ui does not answer"
                time.sleep(0.5)
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
