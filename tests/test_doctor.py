"""`medseg doctor` finds what is amiss and says the mend."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from medseg.cli import doctor as command
from medseg.doctor import Finding, computing, decoders, examine, versions
from medseg.doctor.tracking_store import tracking_store
from medseg.images.dicom import codecs


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """medseg requires torch and no more; the file of tested versions, to be written."""
    monkeypatch.setattr(metadata, "requires", lambda _: ["torch>=2.6", 'pytest; extra == "test"'])
    pins = tmp_path / "constraints.txt"
    monkeypatch.setattr(versions, "shipped", lambda _: pins)
    return pins


class TestVersions:
    def test_tested_version_is_fine_whatever_its_build(self, required: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        required.write_text("# comment\ntorch==2.13.0\n")
        monkeypatch.setattr(metadata, "version", lambda _: "2.13.0+cu126")
        found = versions.package_versions()
        assert not found.amiss and "2.13.0+cu126" in found.value

    def test_other_version_is_named_with_the_tested_one(self, required: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        required.write_text("torch==2.13.0\n")
        monkeypatch.setattr(metadata, "version", lambda _: "2.9.0")
        found = versions.package_versions()
        assert found.value == "torch 2.9.0 (tested: 2.13.0)"
        assert found.mend == "pip install torch==2.13.0" and not found.broken

    def test_missing_package_is_broken(self, required: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        required.write_text("torch==2.13.0\n")

        def absent(name: str) -> str:
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "version", absent)
        found = versions.package_versions()
        assert found.broken and "torch is missing" in found.value

    def test_pin_of_another_python_does_not_count(self, required: Path) -> None:
        required.write_text("torch==2.13.0 ; python_version >= '3'\ntorch==1.0 ; python_version < '3'\n")
        assert str(versions.tested_versions()["torch"]) == "2.13.0"


class TestComputing:
    def test_slow_autocast_is_amiss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(computing, "pick_precision", lambda _: torch.bfloat16)
        times = {torch.float32: 10.0, torch.bfloat16: 40.0}
        monkeypatch.setattr(computing, "_milliseconds", lambda _, precision: times[precision])
        found = computing.conv3d(torch.device("cpu"))
        assert found.amiss and not found.broken and "4.00 times" in found.value

    def test_failing_convolution_is_broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> float:
            raise RuntimeError("no kernel image is available\nand much more")

        monkeypatch.setattr(computing, "_milliseconds", fail)
        found = computing.conv3d(torch.device("cpu"))
        assert found.broken and found.value == "fails: no kernel image is available"

    def test_card_that_torch_does_not_see_is_amiss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(computing, "_driver_sees_a_gpu", lambda: True)
        monkeypatch.setattr(torch.version, "cuda", None)
        found = computing.gpu()
        assert found.amiss and "CUDA build" in str(found.mend)


class TestDecoders:
    def test_encoding_without_a_decoder_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(codecs.Codec, "is_available", property(lambda codec: codec.package != "imagecodecs"))
        found = decoders.dicom_decoders()
        assert found.value == "RLE, JPEG, no JPEG 12 bit, no JPEG lossless, JPEG-LS, JPEG 2000, HTJ2K"
        assert found.mend == "pip install imagecodecs"

    def test_every_encoding_is_read_here(self) -> None:
        assert not decoders.dicom_decoders().amiss


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path != "/broken/health" else 500)
        self.end_headers()
        self.wfile.write(b"OK" if self.path == "/health" else b"<html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The address, without scheme, of something that is MLflow's health check at its top only."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{listening.server_port}"
        listening.shutdown()


class TestTrackingStore:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.chdir(tmp_path)

    def test_scheme_that_mlflow_does_not_know_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "foo://me:secret@bar")
        finding = tracking_store()
        assert finding.amiss and "MLflow knows no 'foo'" in finding.value and "secret" not in str(finding)

    def test_default_is_a_file_yet_to_be_made(self, tmp_path: Path) -> None:
        assert tracking_store() == Finding("tracking store", "mlflow.db, made by the first run")
        assert not list(tmp_path.iterdir())

    def test_database_is_tried_and_left_as_it_is(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect("mlflow.db")) as database:
            database.execute("CREATE TABLE runs (name TEXT)")
        before = (tmp_path / "mlflow.db").read_bytes()
        assert not tracking_store().amiss
        assert (tmp_path / "mlflow.db").read_bytes() == before

    def test_file_that_is_no_database_is_amiss(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
        found = tracking_store()
        assert found.amiss and "mlflow.db: file is not a database" in found.value

    def test_database_in_no_folder_is_amiss(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none/mlflow.db")
        found = tracking_store()
        assert found.amiss and f"{tmp_path}/none/mlflow.db" in found.value

    @pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns"])
    def test_folder_is_amiss(self, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        found = tracking_store()
        assert found.amiss and "sqlite:///" in str(found.mend)

    def test_server_that_answers_is_fine(self, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{server}/")
        assert tracking_store() == Finding("tracking store", f"http://{server} answers")

    @pytest.mark.parametrize(
        ("path", "problem"), [("broken", "answers with status 500"), ("other", "is no MLflow server")]
    )
    def test_server_that_answers_wrongly_is_amiss(
        self, monkeypatch: pytest.MonkeyPatch, server: str, path: str, problem: str
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{server}/{path}")
        found = tracking_store()
        assert found.amiss and problem in found.value

    def test_unreachable_server_is_named_with_the_mend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
        found = tracking_store()
        assert found.amiss and found.value.startswith("http://127.0.0.1:1 does not answer")
        assert "unset MLFLOW_TRACKING_URI" in str(found.mend)

    @pytest.mark.parametrize(
        "uri",
        [
            "http://me:s3cret@127.0.0.1:1",
            "http://me:s3/cr@t@127.0.0.1:1",
            "postgresql://me:s3cret@db/x?password=s3cret",
        ],
    )
    def test_password_is_not_said(self, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert "s3" not in str(tracking_store())


class TestCommand:
    @pytest.fixture
    def app(self) -> typer.Typer:
        app = typer.Typer()
        app.command()(command.doctor)
        return app

    def test_examines_everything_on_one_line_each(self) -> None:
        findings = examine()
        names = [finding.name for finding in findings]
        assert {"packages", "memory", "disk", "GPU", "bf16", "conv3d cpu", "tracking store"} <= set(names)
        assert len(names) == len(set(names))
        assert not any("\n" in f"{finding.value}{finding.mend}" for finding in findings)

    def test_a_torch_and_an_mlflow_that_do_not_load_are_findings_and_end_nothing(self) -> None:
        program = "import sys; sys.modules.update(torch=None, mlflow=None); from medseg.cli.main import main; main()"
        command = [sys.executable, "-c", program, "doctor", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
        assert done.returncode == 1 and not done.stderr
        assert "does not load" in found["torch"]["value"] and {"memory", "tracking store"} <= set(found)

    @pytest.mark.parametrize(
        ("finding", "status"),
        [
            (Finding("disk", "9 GiB free"), 0),
            (Finding("disk", "[1 GiB] free", "free some"), 0),
            (Finding("torch", "does not load", "install torch", broken=True), 1),
        ],
    )
    def test_says_the_mend_and_fails_only_when_broken(
        self, app: typer.Typer, monkeypatch: pytest.MonkeyPatch, finding: Finding, status: int
    ) -> None:
        monkeypatch.setattr(command, "examine", lambda: [finding])
        said = CliRunner().invoke(app)
        assert said.exit_code == status
        assert finding.value in said.stdout and (finding.mend or "") in said.stdout

        as_json = CliRunner().invoke(app, ["--json"])
        assert as_json.exit_code == status
        assert json.loads(as_json.stdout)["findings"] == [
            {
                "name": finding.name,
                "value": finding.value,
                "amiss": finding.mend is not None,
                "broken": finding.broken,
                "mend": finding.mend,
            }
        ]
