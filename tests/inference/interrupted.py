"""Batches as real processes, killed with -9, resumed, shared, and compared with an undisturbed one.

For the tests and for `scripts/check_batch`.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BAD = {
    "case_001_truncated": "truncated or damaged",
    "case_002_empty": "an empty file of 0 bytes",
    "case_003_channels": "has 2 channels; this bundle takes 1",
    "case_004_text": "no image that medseg knows",
    "case_005_no_slices": "no DICOM",
}
SERIES = "case_000"
LIMIT_S = 3600
_SHAPE = (40, 32, 12)


def make_bundle(folder: Path) -> Path:
    """The phantom's bundle with a tiny network of random weights."""
    import torch
    import yaml
    from monai.networks.nets import UNet

    from medseg.bundle.run import find_bundle
    from medseg.bundle.weights import save_weights

    shutil.copytree(find_bundle("phantom_ct_3d"), folder)
    config = yaml.safe_load((folder / "configs" / "train.yaml").read_text())
    config["patch_size"] = [32, 32, 16]
    config["network_def"]["channels"] = [4, 8, 8, 8]
    (folder / "configs" / "train.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    words = {key: value for key, value in config["network_def"].items() if key not in ("_target_", "norm")}
    network = UNet(**words | {"in_channels": 1, "out_channels": 4}, norm="INSTANCE")
    save_weights(network, folder / "models" / "model.pt")
    return folder


def make_cases(folder: Path, count: int) -> Path:
    """`count` small cases: pieces of phantoms, one of them a DICOM series, and the five of `BAD`."""
    from medseg.data.phantom import make_phantom
    from medseg.images import Geometry, read_image, write_dicom_series, write_volume

    make_phantom(folder.parent / "phantom", cases=4)
    phantoms = [read_image(path) for path in sorted((folder.parent / "phantom" / "images").iterdir())]
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count - len(BAD)):
        source = phantoms[number % len(phantoms)]
        start = [int(rng.integers(0, have - want)) for have, want in zip(source.array.shape, _SHAPE, strict=True)]
        piece = source.array[tuple(slice(a, a + n) for a, n in zip(start, _SHAPE, strict=True))]
        affine = source.geometry.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ start
        if number == 0:
            write_dicom_series(folder / SERIES, piece, Geometry(_SHAPE, affine), modality="CT", seed="interrupted")
        else:
            write_volume(folder / f"case_{number:03d}.nii.gz", piece, Geometry(_SHAPE, affine))
    whole = (folder / "case_001.nii.gz").read_bytes()
    (folder / "case_001_truncated.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "case_002_empty.nii.gz").write_bytes(b"")
    write_volume(folder / "case_003_channels.nii.gz", np.stack([piece, piece], axis=3), Geometry(_SHAPE, affine))
    (folder / "case_004_text.nii.gz").write_text("no scan, but a line of text\n")
    (folder / "case_005_no_slices").mkdir()
    (folder / "case_005_no_slices" / "notes.txt").write_text("the slices were never copied\n")
    return folder


@dataclass
class Predicting:
    """`medseg predict` in a process of its own."""

    process: subprocess.Popen[str]
    out: Path
    log: Path

    @classmethod
    def start(cls, bundle: Path, cases: Path, out: Path, *words: str, **environment: str) -> Predicting:
        log = out.with_name(f"{out.name}-{time.monotonic_ns()}.log")
        ask = "from medseg.cli.main import main; main()"
        command = [sys.executable, "-c", ask, "predict", str(bundle), str(cases), "-o", str(out), *words]
        with log.open("w") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, text=True, env=os.environ | environment)
        return cls(process, out, log)

    def finish(self) -> int:
        return self.process.wait(LIMIT_S)

    def kill_when(self, rows: int, delay_s: float) -> bool:
        """Kill -9 some time after the table has so many rows; False if it had ended by then."""
        self.wait_for(rows)
        time.sleep(delay_s)
        alive = self.process.poll() is None
        self.process.kill()
        self.process.wait(LIMIT_S)
        return alive

    def wait_for(self, rows: int) -> None:
        wait(lambda: lines_of(self.out) > rows or self.process.poll() is not None)

    def told(self) -> set[str]:
        """The cases that it has told of."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return {words[1] for words in lines if len(words) > 1 and words[0].replace("/", "").isdigit()}


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def lines_of(out: Path) -> int:
    path = out / "results.csv"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def rows_of(out: Path) -> dict[str, Mapping[str, str]]:
    """The whole rows of the table; fails if a case has two."""
    content = (out / "results.csv").read_text()
    rows = list(csv.DictReader(content[: content.rfind("\n") + 1].splitlines()))
    by_case = {row["case"]: row for row in rows}
    assert len(by_case) == len(rows), "a case has two rows"
    return by_case


def problems(out: Path, reference: Path) -> Iterator[str]:
    """What is wrong with a folder at any moment, its processes dead: files that are not whole, rows that lie."""
    for path in sorted(out.iterdir()):
        if path.is_file() and not path.name.startswith("results.") and not same(path, reference / path.name):
            yield f"{path.name}: not as undisturbed"
    expected = rows_of(reference)
    for case, row in rows_of(out).items():
        for column, value in expected[case].items():
            if not column.startswith("seconds:") and row[column].replace(out.name, "") != value.replace(
                reference.name, ""
            ):
                yield f"{case}: {column} is {row[column]!r}, undisturbed {value!r}"
        for name in filter(None, row["files"].split(" | ")):
            if not (out / name).is_file():
                yield f"{case}: {name} is missing"


def unfinished(out: Path, cases: Path) -> Iterator[str]:
    """What is missing from a folder in which a batch has ended."""
    rows = rows_of(out)
    names = {path.name.removesuffix(".nii.gz") for path in cases.iterdir()}
    if set(rows) != names:
        yield f"rows of {sorted(set(rows) ^ names)} are missing, or too many"
    for case, row in rows.items():
        if bool(row["error"]) != (case in BAD) or BAD.get(case, "") not in row["error"]:
            yield f"{case}: error is {row['error']!r}"
        if case not in BAD and not (out / f"{case}.nii.gz").is_file():
            yield f"{case}: no label map"
    records = json.loads((out / "results.json").read_text())
    if [each["case"] for each in records] != sorted(names):
        yield "results.json tells of other cases"
    litter = [path.name for path in out.iterdir() if path.name.startswith(".part-")]
    if litter:
        yield f"left half-written: {litter}"


def same(path: Path, other: Path) -> bool:
    """Whether two results are equal: DICOM SEG by its voxels, all else byte for byte."""
    if not other.is_file():
        return False
    if path.suffix != ".dcm":
        return path.read_bytes() == other.read_bytes()
    import pydicom

    return bool(np.array_equal(pydicom.dcmread(path).pixel_array, pydicom.dcmread(other).pixel_array))


@contextmanager
def two_raylets() -> Iterator[tuple[str, Callable[[], None]]]:
    """A Ray cluster of two nodes with one core each: its address, and what kills the second node."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    try:
        second = cluster.add_node(**small)
        yield cluster.address, lambda: cluster.remove_node(second, allow_graceful=False)
    finally:
        cluster.shutdown()


def random_rows(rng: random.Random, left: int, kills: int) -> int:
    """After how many more rows to kill, so that enough are left for the kills to come."""
    return rng.randint(1, max(1, left // (kills + 1)))
