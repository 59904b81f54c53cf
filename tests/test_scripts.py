"""`scripts/demo`, `test` and `reproduce` on a checkout, with a Python that only notes what it is asked to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# Notes pip's and the tools' words, makes a .venv of itself, and leaves all else to the real Python.
PYTHON = """\
#!/bin/sh
note() { echo "$*" >>"$NOTES"; case "$*" in *"$FAILING"*) exit 3 ;; esac; exit 0; }
case "$(basename "$0") $1 $2" in
    *" -m venv")
        rm -rf .venv; mkdir -p .venv/bin
        for tool in python ruff mypy lint-imports medseg; do cp "$0" ".venv/bin/$tool"; done
        note make "$@" ;;
    *" -m pip") note "$@" ;;
    *" -m pytest") note "$@" ;;
    python*) exec "$REAL_PYTHON" "$@" ;;
    *) note "$(basename "$0")" "$@" ;;
esac
"""


@dataclass
class Checkout:
    folder: Path
    bin: Path

    def run(self, script: str, *words: str, failing: str = "nothing at all", **variables: str) -> str:
        """What the script printed, its exit status on the last line; `notes` of this run alone."""
        self.notes_file.unlink(missing_ok=True)
        environment = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHON": str(self.bin / "python-noting"),
            "REAL_PYTHON": sys.executable,
            "NOTES": str(self.notes_file),
            "FAILING": failing,
            "MEDSEG_TORCH_INDEX": "https://mirror.example/torch",
            **variables,
        }
        run = subprocess.run(
            [str(self.folder / "scripts" / script), *words],
            cwd=self.folder.parent,
            env=environment,
            capture_output=True,
            text=True,
        )
        return f"{run.stdout}{run.stderr}{run.returncode}"

    @property
    def notes_file(self) -> Path:
        return self.folder.parent / "notes"

    @property
    def notes(self) -> list[str]:
        return self.notes_file.read_text().splitlines() if self.notes_file.exists() else []

    @property
    def installs(self) -> list[str]:
        return [note for note in self.notes if note.startswith("-m pip install")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "a check out"
    shutil.copytree(REPOSITORY / "scripts", folder / "scripts")
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    executable(bin_folder / "python-noting", PYTHON)
    executable(bin_folder / "nvidia-smi", "#!/bin/sh\nexit 9\n")
    return Checkout(folder, bin_folder)


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_first_run_installs_and_checks_everything(checkout: Checkout) -> None:
    assert checkout.run("test", "-k", "two words").endswith("\n0")
    assert checkout.installs[-1].endswith("--editable .[openvino,test,dev]")
    tools = checkout.notes[-5:]
    assert tools == [
        "ruff check",
        "ruff format --check",
        "mypy",
        "lint-imports --no-logo",
        "-m pytest -k two words",
    ]


def test_second_run_installs_nothing(checkout: Checkout) -> None:
    checkout.run("demo")
    checkout.run("demo", "--help")
    assert checkout.notes == ["medseg demo --help"]


def test_environment_of_the_tests_serves_the_demo_but_not_the_reverse(checkout: Checkout) -> None:
    checkout.run("demo")
    checkout.run("test")
    assert checkout.installs and not any(note.startswith("make") for note in checkout.notes)
    checkout.run("demo")
    assert not checkout.installs


def test_broken_off_install_is_taken_up_again(checkout: Checkout) -> None:
    said = checkout.run("demo", failing="--editable")
    assert "==> FAILED in step: install medseg" in said and said.endswith("\n3")
    checkout.run("demo")
    assert checkout.installs


def test_broken_off_addition_spoils_what_was_whole(checkout: Checkout) -> None:
    checkout.run("demo")
    checkout.run("test", failing="--editable")
    checkout.run("demo")
    assert checkout.installs


@pytest.mark.parametrize("name", ["pyproject.toml", "scripts/constraints.txt"])
def test_other_wanted_versions_make_the_environment_anew(checkout: Checkout, name: str) -> None:
    checkout.run("demo")
    with (checkout.folder / name).open("a") as file:
        file.write("# changed\n")
    checkout.run("demo")
    assert checkout.notes[0].startswith("make") and checkout.installs


def test_failing_step_is_named_and_the_last(checkout: Checkout) -> None:
    said = checkout.run("test", failing="mypy")
    assert "==> FAILED in step: mypy" in said and said.endswith("\n3")
    assert checkout.notes[-1] == "mypy"


def test_machine_with_a_card_gets_the_release_built_with_cuda(checkout: Checkout) -> None:
    executable(checkout.bin / "nvidia-smi", "#!/bin/sh\nexit 0\n")
    checkout.run("demo", MEDSEG_TORCH_INDEX="")
    (pin,) = [line for line in constraints() if line.startswith("torch==")]
    assert checkout.installs[0].endswith(f" {pin.replace('==', '===')}")


def test_chosen_index_gives_torch_and_nothing_else(checkout: Checkout) -> None:
    checkout.run("demo")
    torch, rest = checkout.installs
    assert torch.endswith("--extra-index-url https://mirror.example/torch torch")
    assert "mirror.example" not in rest


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("no-such-python", "no-such-python is not here: install Python 3.10 or newer, or set PYTHON to one"),
        ("old", "set PYTHON to a Python of 3.10 or newer"),
        ("bare", "install its venv package"),
    ],
)
def test_unfit_python_is_said(checkout: Checkout, python: str, message: str) -> None:
    executable(checkout.bin / "old", '#!/bin/sh\ncase "$2" in *version_info*) exit 1 ;; esac\n')
    executable(checkout.bin / "bare", '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n')
    said = checkout.run("demo", PYTHON=python)
    assert message in said and said.endswith("\n1")
    assert not checkout.notes


def rows_of_the_results() -> list[str]:
    results = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8").partition("## In MLflow")[0]
    return re.findall(r"^\| `(\w+)` \|", results, flags=re.MULTILINE)


@pytest.mark.parametrize("row", rows_of_the_results())
def test_every_row_of_the_results_has_its_commands(checkout: Checkout, row: str) -> None:
    executable(checkout.bin / "medseg", '#!/bin/sh\necho "$@" >>"$NOTES"\n')
    said = checkout.run("reproduce", row, "--seed", "3", MEDSEG_DATA=data_of_every_row(checkout.folder.parent))
    assert said.endswith("0"), said
    train = next(index for index, note in enumerate(checkout.notes) if note.startswith("train "))
    assert checkout.notes[train].endswith(" --seed 3")
    assert checkout.notes[-1].startswith("evaluate ")
    bundle = checkout.notes[train].split()[1]
    assert (REPOSITORY / "bundles" / bundle).is_dir() or checkout.notes[0].endswith(f"--output_dir {bundle}")
    assert {note.split()[0] for note in checkout.notes} <= {"adapt", "phantom", "train", "tune", "evaluate"}
    shown = [line[len("+ medseg ") :].replace("\\", "") for line in said.splitlines() if line.startswith("+ ")]
    assert shown == checkout.notes


def test_a_row_of_folds_trains_and_measures_each(checkout: Checkout) -> None:
    executable(checkout.bin / "medseg", '#!/bin/sh\necho "$@" >>"$NOTES"\n')
    checkout.run("reproduce", "glioma", MEDSEG_DATA=data_of_every_row(checkout.folder.parent))
    runs = [re.search(r"^(\w+) .*--fold (\d) .*runs/glioma/fold_(\d)", note) for note in checkout.notes]
    expected = [(what, fold, fold) for fold in "012" for what in ("train", "evaluate")]
    assert [found.groups() for found in runs if found] == expected


def data_of_every_row(folder: Path) -> str:
    """Empty folders by the names that `scripts/reproduce` asks for; the path is relative to the working directory."""
    script = (REPOSITORY / "scripts" / "reproduce").read_text(encoding="utf-8")
    for name in re.findall(r"(?:need|fold_0 \S+|folds \d \S+) (\w+)", script):
        (folder / "data" / name).mkdir(parents=True, exist_ok=True)
    return "data"


def test_dry_run_shows_and_does_nothing(checkout: Checkout) -> None:
    executable(checkout.bin / "medseg", '#!/bin/sh\necho "$@" >>"$NOTES"\n')
    said = checkout.run("reproduce", "--dry-run", "chest", MEDSEG_DATA="/nowhere")
    assert said.endswith("\n0") and "+ medseg train runs/chest/chest_lung_2d --dataset_dir /nowhere/cxr_lung" in said
    assert not checkout.notes and not (checkout.folder / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message", "status"),
    [
        (("--help",), "scripts/reproduce [--dry-run] NAME", 0),
        ((), "scripts/reproduce [--dry-run] NAME", 1),
        (("brains",), "scripts/reproduce: 'brains': no such row; --help lists them", 1),
        (("retina",), "/drive: not there; set MEDSEG_DATA to the folder that holds drive", 1),
    ],
)
def test_reproduce_says_what_it_needs(checkout: Checkout, words: tuple[str, ...], message: str, status: int) -> None:
    executable(checkout.bin / "medseg", "#!/bin/sh\n")
    said = checkout.run("reproduce", *words, MEDSEG_DATA="/nowhere")
    assert message in said and said.endswith(f"\n{status}")


def constraints() -> list[str]:
    return (REPOSITORY / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
