"""The ten datasets of the Medical Segmentation Decathlon, from where MONAI has them."""

from __future__ import annotations

import difflib
import logging
import os
import re
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from medseg.data.datalist import find_cases
from medseg.data.download import Report, check_space, download
from medseg.errors import DatasetError, OutputError

LICENCE = "CC BY-SA 4.0"  # of all ten: Antonelli et al., Nature Communications 13:4128, 2022


@dataclass(frozen=True)
class Task:
    """One dataset.

    Attributes:
        name: to fetch it by.
        folder: its name as it is published.
        modality: CT, or MRI with its sequences where they are channels.
        labelled: what its labels show.
    """

    name: str
    folder: str
    modality: str
    labelled: str


TASKS = (
    Task("brain_tumour", "Task01_BrainTumour", "MRI (FLAIR, T1, T1gd, T2)", "oedema, glioma and its enhancing part"),
    Task("heart", "Task02_Heart", "MRI", "left atrium"),
    Task("liver", "Task03_Liver", "CT", "liver, its tumours"),
    Task("hippocampus", "Task04_Hippocampus", "MRI", "anterior and posterior hippocampus"),
    Task("prostate", "Task05_Prostate", "MRI (T2, ADC)", "peripheral and transition zone"),
    Task("lung", "Task06_Lung", "CT", "tumours"),
    Task("pancreas", "Task07_Pancreas", "CT", "pancreas, its tumours and cysts"),
    Task("hepatic_vessel", "Task08_HepaticVessel", "CT", "vessels of the liver, tumours"),
    Task("spleen", "Task09_Spleen", "CT", "spleen"),
    Task("colon", "Task10_Colon", "CT", "tumours"),
)


@dataclass(frozen=True)
class Fetched:
    """A dataset that is there.

    Attributes:
        folder: what `find_cases` takes.
        cases: how many are labelled.
        was_there: whether nothing had to be done.
    """

    folder: Path
    cases: int
    was_there: bool = False


def find_task(name: str) -> Task:
    """The dataset of a name such as `spleen` or `Task09_Spleen`.

    Raises:
        DatasetError: if there is none, naming the nearest one or all.
    """
    known = {_plain(each.name): each for each in TASKS}
    if _plain(name) in known:
        return known[_plain(name)]
    alike = difflib.get_close_matches(_plain(name), known, n=1)
    names = ", ".join(each.name for each in TASKS)
    hint = f"did you mean '{known[alike[0]].name}'?" if alike else f"there are {names}"
    raise DatasetError(f"{name}: no dataset of the Decathlon; {hint}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", re.sub(r"^task\d*", "", name.lower()))


def fetch(name: str, to: str | os.PathLike[str], *, report: Report | None = None) -> Fetched:
    """Have a dataset in a folder, `to/TaskNN_Name`, checked against MONAI's checksum; it appears whole or not at all.

    An archive `to/TaskNN_Name.tar` that is there is taken (and left); else it is downloaded, a broken download is
    continued by the next call, and the archive is deleted once it is unpacked.

    Args:
        name: see `find_task`.
        to: made if absent.
        report: see `download`.

    Raises:
        DatasetError: for an unknown name, an address that cannot be reached, a wrong checksum, or a folder of that
            name that is no dataset.
        OutputError: for a folder that cannot be written, a full disk, or another process that fetches the same.
    """
    task = find_task(name)
    to = Path(to)
    folder = to / task.folder
    if folder.exists():
        return Fetched(folder, _cases(folder), was_there=True)
    try:
        to.mkdir(parents=True, exist_ok=True)
        lock = FileLock(to / f".{task.folder}.lock", timeout=0)
        with lock:
            try:
                _fetch(task, to, folder, report)
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout as error:
        raise OutputError(f"{folder}: another process is fetching it; wait for that") from error
    except OSError as error:
        raise OutputError(
            f"{to}: cannot be written ({error.strerror or error}); choose another place with --to"
        ) from error
    return Fetched(folder, _cases(folder))


def _fetch(task: Task, to: Path, folder: Path, report: Report | None) -> None:
    from monai.apps import DecathlonDataset, check_hash

    logging.getLogger("monai.apps").setLevel(logging.CRITICAL)  # it would write to stdout
    url, md5 = DecathlonDataset.resource[task.folder], DecathlonDataset.md5[task.folder]
    archive = to / f"{task.folder}.tar"
    if archive.is_file():
        if not check_hash(archive, md5, "md5"):
            raise DatasetError(f"{archive}: its checksum is not {md5} (md5); delete it and download {url} again")
        check_space(to, archive.stat().st_size)
        _unpack(archive, folder)
        return
    part = to / f".{task.folder}.tar.part"
    by_hand = f"download it elsewhere, put it at {archive} and run this again"
    download(url, part, by_hand=by_hand, space_for=2, report=report)  # the archive and what is in it
    if not check_hash(part, md5, "md5"):
        part.unlink()
        raise DatasetError(f"{url}: arrived with a wrong checksum (not md5 {md5}) and was deleted; run it again")
    _unpack(part, folder)
    part.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    from monai.apps import extractall

    with tempfile.TemporaryDirectory(prefix=f".part-{folder.name}-", dir=folder.parent) as beside:
        try:
            extractall(archive, beside, file_type="tar")
        except (tarfile.TarError, ValueError, EOFError) as error:
            raise DatasetError(f"{archive}: cannot be unpacked ({error}); delete it and fetch it again") from error
        unpacked = Path(beside) / folder.name
        _cases(unpacked)
        unpacked.replace(folder)


def _cases(folder: Path) -> int:
    try:
        return len(find_cases(folder))
    except DatasetError as error:
        raise DatasetError(f"{error}; to fetch it again, delete {folder}") from error
