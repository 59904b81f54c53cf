"""The Decathlon's datasets from a real server: whole, checked, or not there at all."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from monai.apps import DecathlonDataset

from medseg.cli.main import main
from medseg.data import download, find_cases
from medseg.data.decathlon import TASKS, fetch, find_task
from medseg.errors import DatasetError, OutputError

NAME = "Task09_Spleen"


def archive_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{NAME}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


ARCHIVE = archive_of(
    {
        "dataset.json": b"{}",
        "imagesTr/spleen_2.nii.gz": b"a" * 70_000,
        "imagesTr/._spleen_2.nii.gz": b"of macOS",
        "imagesTr/spleen_3.nii.gz": b"b" * 70_000,
        "labelsTr/spleen_2.nii.gz": b"c" * 10,
        "labelsTr/spleen_3.nii.gz": b"d" * 10,
        "imagesTs/spleen_1.nii.gz": b"e",
    }
)


class Server(ThreadingHTTPServer):
    """Serves one archive, and breaks off after `breaks_after` bytes of an answer."""

    content = ARCHIVE
    breaks_after: int | None = None
    knows_ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[str | None] = []


class Answering(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.knows_ranges else 0
        rest = self.server.content[start:]
        self.send_response(404 if "Spleen" not in self.path else 416 if not rest else 206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.breaks_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.server_port}/{NAME}.tar"
        monkeypatch.setitem(DecathlonDataset.resource, NAME, url)
        monkeypatch.setitem(DecathlonDataset.md5, NAME, hashlib.md5(ARCHIVE).hexdigest())
        yield listening
        listening.shutdown()


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_dataset_arrives_whole_and_is_one_that_can_be_trained_on(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    found = fetch("spleen", tmp_path / "new", report=lambda *amounts: told.append(amounts))
    assert (found.folder, found.cases, found.was_there) == (tmp_path / "new" / NAME, 2, False)
    assert [case.name for case in find_cases(found.folder)] == ["spleen_2", "spleen_3"]
    assert (found.folder / "imagesTr" / "spleen_3.nii.gz").read_bytes() == b"b" * 70_000
    assert names_in(tmp_path / "new") == [NAME], "no archive, part or lock stays"
    assert told[-1] == (len(ARCHIVE), len(ARCHIVE))


def test_dataset_that_is_there_is_left_alone(server: Server, tmp_path: Path) -> None:
    fetch("spleen", tmp_path)
    mine = tmp_path / NAME / "labelsTr" / "spleen_2.nii.gz"
    mine.write_bytes(b"corrected")
    assert fetch("spleen", tmp_path).was_there
    assert mine.read_bytes() == b"corrected" and len(server.asked) == 1


def test_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = ARCHIVE[:-1] + b"x"
    with pytest.raises(DatasetError, match="wrong checksum"):
        fetch("spleen", tmp_path)
    assert names_in(tmp_path) == []
    server.content = ARCHIVE
    assert fetch("spleen", tmp_path).cases == 2


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_download_that_broke_off_goes_on(server: Server, tmp_path: Path, knows_ranges: bool) -> None:
    server.breaks_after, server.knows_ranges = 50_000, knows_ranges
    with pytest.raises(DatasetError, match=f"broke off after 50000 of {len(ARCHIVE)} bytes; run it again to go on"):
        fetch("spleen", tmp_path)
    assert names_in(tmp_path) == [f".{NAME}.tar.part"], "no half-written folder"
    server.breaks_after = None
    assert fetch("spleen", tmp_path).cases == 2
    assert server.asked == [None, "bytes=50000-"]
    assert names_in(tmp_path) == [NAME]


def test_download_that_was_complete_is_not_repeated(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.tar.part").write_bytes(ARCHIVE)
    assert fetch("spleen", tmp_path).cases == 2
    assert server.asked == [f"bytes={len(ARCHIVE)}-"]


def test_archive_fetched_by_hand_is_taken_and_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.tar").write_bytes(ARCHIVE)
    assert fetch("Task09_Spleen", tmp_path).cases == 2
    assert server.asked == [] and names_in(tmp_path) == [NAME, f"{NAME}.tar"]


def test_half_of_an_archive_fetched_by_hand_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.tar").write_bytes(ARCHIVE[:1000])
    with pytest.raises(DatasetError, match=r"Task09_Spleen.tar: its checksum is not"):
        fetch("spleen", tmp_path)
    assert names_in(tmp_path) == [f"{NAME}.tar"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no tar at all" * 1000, "cannot be unpacked"),
        (archive_of({"../../out.txt": b"out"}), "cannot be unpacked"),
        (archive_of({"imagesTr/a.nii.gz": b"alone"}), "has no folder labelsTr/"),
    ],
)
def test_archive_of_something_else_leaves_no_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    server.content = content
    monkeypatch.setitem(DecathlonDataset.md5, NAME, hashlib.md5(content).hexdigest())
    with pytest.raises(DatasetError, match=message):
        fetch("spleen", tmp_path / "in")
    assert names_in(tmp_path) == ["in"] and NAME not in names_in(tmp_path / "in")


def test_missing_file_of_a_server_is_told_with_its_status(server: Server, tmp_path: Path) -> None:
    DecathlonDataset.resource[NAME] = DecathlonDataset.resource[NAME].replace("Spleen", "Gone")
    with pytest.raises(DatasetError, match="answers 404"):
        fetch("spleen", tmp_path)


def test_full_disk_is_told_before_the_download(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": len(ARCHIVE) * 2 - 1})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="GiB free"):
        fetch("spleen", tmp_path)
    assert names_in(tmp_path) == []


def test_two_at_a_time_do_not_mix(server: Server, tmp_path: Path) -> None:
    with FileLock(tmp_path / f".{NAME}.lock"), pytest.raises(OutputError, match="another process is fetching it"):
        fetch("spleen", tmp_path)


def test_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch("spleen", tmp_path / "file")


def test_every_dataset_is_one_that_monai_has() -> None:
    assert {each.folder for each in TASKS} == set(DecathlonDataset.resource) == set(DecathlonDataset.md5)


@pytest.mark.parametrize("name", ["hepatic_vessel", "Hepatic-Vessel", "HepaticVessel", "Task08_HepaticVessel"])
def test_name_in_any_spelling(name: str) -> None:
    assert find_task(name).folder == "Task08_HepaticVessel"


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `medseg data`; gives stdout and stderr."""

    def run(*words: object, fails: bool = False) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["medseg", "data", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code == 1) if fails else not ended.value.code, printed.err
        assert not fails or (printed.err.count("\n") == 1 and not printed.out), printed
        return printed.out, printed.err

    return run


def test_command_tells_where_it_is_and_the_licence(run: Run, server: Server, tmp_path: Path) -> None:
    assert run("fetch", "spleen", "--to", tmp_path) == (
        f"{tmp_path / NAME}: 2 labelled cases; licence CC BY-SA 4.0: name the source\n",
        "",
    )
    assert "already there, 2 labelled cases" in run("fetch", "spleen", "--to", tmp_path)[0]


def test_without_a_network_one_line_tells_how_to_fetch_by_hand(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as closed:
        url = f"http://127.0.0.1:{closed.server_port}/{NAME}.tar"
    monkeypatch.setitem(DecathlonDataset.resource, NAME, url)
    told = run("fetch", "spleen", "--to", tmp_path / "to", fails=True)[1]
    assert told == (
        f"medseg: error: {url}: could not be reached (Connection refused); download it elsewhere, "
        f"put it at {tmp_path / 'to' / NAME}.tar and run this again\n"
    )
    assert names_in(tmp_path / "to") == []


def test_unknown_name_is_one_line(run: Run, tmp_path: Path) -> None:
    assert (
        "spleeen: no dataset of the Decathlon; did you mean 'spleen'?"
        in run("fetch", "spleeen", "--to", tmp_path, fails=True)[1]
    )
    assert "there are brain_tumour, heart" in run("fetch", "xyz", "--to", tmp_path, fails=True)[1]


def test_list(run: Run) -> None:
    listed = json.loads(run("list", "--json")[0])["datasets"]
    assert len(listed) == 10 and {each["licence"] for each in listed} == {"CC BY-SA 4.0"}
    assert "Task09_Spleen" in run("list")[0]
