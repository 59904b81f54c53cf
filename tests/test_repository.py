"""What stands in several files of the repository and has to agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import medseg

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(project: dict[str, Any]) -> dict[str, Requirement]:
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    return {canonicalize_name(each.name): each for each in map(Requirement, lines)}


def test_changelog_tells_of_this_version() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\]", changelog, flags=re.MULTILINE)
    assert newest and newest[1] == medseg.__version__


def test_ci_runs_scripts_test_and_nothing_else() -> None:
    lines = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["./scripts/test"]


def test_the_table_of_floors_is_the_one_that_imports_are_held_to() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    document = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \| .+ \|$", document.split("## The floors")[1].split("\n## ")[0], flags=re.MULTILINE)
    floors = [re.findall(r"\w+", layer) for layer in contracts["contracts"][0]["layers"]]
    assert [re.findall(r"\w+", row) for row in rows] == floors


@pytest.mark.parametrize("name", ["scripts/demo", "scripts/test", "scripts/pin", "scripts/reproduce", ".ci/run"])
def test_script_can_be_run(name: str) -> None:
    assert os.access(REPOSITORY / name, os.X_OK)
    assert (REPOSITORY / name).read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")


def test_every_dependency_has_its_reason_and_no_other_has_one(project: dict[str, Any]) -> None:
    document = (REPOSITORY / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w.-]+) \| (.+) \|$", document, flags=re.MULTILINE)
    assert {canonicalize_name(name) for name, _ in rows} - {"package"} == set(requirements(project))


def test_every_dependency_has_one_tested_version_that_fits(project: dict[str, Any]) -> None:
    lines = (REPOSITORY / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }
    for name, wanted in requirements(project).items():
        assert wanted.specifier.contains(here[name]), wanted


def test_wheel_finds_what_it_carries(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)

    names = ["bundles", "configs", "scripts/constraints.txt"]
    ask = f"from medseg.shipped import shipped; print(*[shipped(name) for name in {names}], sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    answer = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    for name, found in zip(names, map(Path, answer.stdout.splitlines()), strict=True):
        assert found.is_relative_to(unpacked / "medseg")
        assert files_of(found) == files_of(REPOSITORY / name) and files_of(found)
    assert (unpacked / "medseg" / "py.typed").is_file()
    assert not (unpacked / "tests").exists()


def files_of(path: Path) -> set[Path]:
    if path.is_file():
        return {Path(path.name)}
    return {file.relative_to(path) for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
