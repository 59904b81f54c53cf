#!/usr/bin/env python3
"""Sliding-window inference measured: medseg beside MONAI's SlidingWindowInferer and nnU-Net's predictor.

    .venv/bin/python scripts/bench_inference.py --quick [--json]      five minutes on two cores, needs no data
    .venv/bin/python scripts/bench_inference.py [--only speed accuracy] > tables.md      hours

Everything runs on the CPU, with as many threads as this process has cores. Contestants are timed in one process,
one after the other in every round, from the same volume to its label map; the figure is the median. All blend
with a Gaussian at overlap 0.5. Volumes are noise, so that no window is empty and none can be skipped. A peer that
would not end within --minutes or fit in --memory is not run, and the table says so.

`--json` prints one object. Its keys; the first four of the spleen U-Net, 192 x 192 x 128 voxels, 2 classes:

    speedup_equal_windows       MONAI batch 1 in fp32 / ours with the same windows, in seconds
    speedup_auto                MONAI batch 1 in fp32 / ours at `auto`
    speedup_auto_batch4         MONAI batch 4 in fp32 / ours at `auto`
    bound_ratio                 ours at `auto` / one bf16 pass without overlap and without stitching
    dice_equal_windows          ours against MONAI's labels, mean of cases and classes; the lowest of the bundles
    dice_auto                   the same at `auto`
    truth_dice_loss             Dice against the true labels, MONAI's minus ours at `auto`; the highest of the bundles
    file_to_network_ratio       seconds of a prediction from file to file / of the network in the windows used
    peak_ratio_105_classes      our peak resident set / (input + labels + 1.5 GB), 512 x 512 voxels a slice
    max_probability_difference  ours in fp32 at MONAI's settings, over random shapes, windows and overlaps

nnU-Net is measured where it is installed: pip install -c scripts/constraints.txt nnunetv2. Its predictor gets the
same network and weights, and plans that hold nothing but the window. Accuracy needs trained weights and their test
cases: --weights hippocampus=FILE retina=FILE with the datasets of $MEDSEG_DATA (or --data); the weights that come
with the hippocampus bundle are the default where its dataset is there. The bundle of the made-up CT is trained
here in a minute or two, and kept in runs/bench_inference.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import nibabel  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from monai.inferers import SlidingWindowInferer  # noqa: E402
from monai.networks.nets import DynUNet, UNet  # noqa: E402
from scipy.ndimage import zoom  # noqa: E402

from medseg.device import autocast, pick_precision  # noqa: E402
from medseg.metrics import dice  # noqa: E402

CPU = torch.device("cpu")
GB = 1e9
OVERLAP = 0.5
WINDOW = (96, 96, 96)
REPEATS = 5
SMALL, LARGE = (192, 192, 128), (512, 512, 300)
KEPT = Path(__file__).parents[1] / "runs" / "bench_inference"
HAS_NNUNET = util.find_spec("nnunetv2") is not None

Segment = Callable[[torch.Tensor], torch.Tensor]  # a volume (1, channel, spatial...) to its labels (spatial...)


# Networks and contestants


def spleen_unet(classes: int) -> torch.nn.Module:
    return UNet(3, 1, classes, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="BATCH")


def dynunet(classes: int) -> torch.nn.Module:
    filters, strides = (32, 64, 128, 256, 320, 320), (1, 2, 2, 2, 2, 2)
    return DynUNet(3, 1, classes, [3] * 6, strides, strides[1:], filters=filters)


def thin_unet(classes: int) -> torch.nn.Module:
    """Next to no network: what is left is what stitches."""
    return UNet(3, 1, classes, (8, 16), (2,))


NETWORKS = {"spleen U-Net": spleen_unet, "DynUNet": dynunet, "thin U-Net": thin_unet}


def network_of(name: str, classes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name](classes).eval()


def ours(network: torch.nn.Module, window: Sequence[int], *, mode: str, batch: int = 4) -> Segment:
    """The engine; `mode` is `same`, for the window as it is, or `auto`."""
    from medseg.inference import SlidingWindow

    inferer = SlidingWindow(window, OVERLAP, "gaussian", sw_batch_size=batch, window=mode)

    def segment(volume: torch.Tensor) -> torch.Tensor:
        with autocast(CPU, pick_precision(CPU)):
            return inferer(volume, network)[0].argmax(0)

    return segment


def stock(
    network: torch.nn.Module, window: Sequence[int], *, batch: int, precision: torch.dtype = torch.float32
) -> Segment:
    inferer = SlidingWindowInferer(window, batch, OVERLAP, mode="gaussian")

    def segment(volume: torch.Tensor) -> torch.Tensor:
        with autocast(CPU, precision):
            return inferer(volume, network)[0].argmax(0)

    return segment


def nnunet(network: torch.nn.Module, window: Sequence[int], *, classes: int, mirror: bool) -> Segment:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    configuration = {"patch_size": list(window), "architecture": {}}
    plans = PlansManager({"configurations": {"bench": configuration}, "label_manager": "LabelManager"})
    predictor = nnUNetPredictor(1 - OVERLAP, use_mirroring=mirror, device=CPU, allow_tqdm=False)
    labels = {"background": 0, **{f"class {value}": value for value in range(1, classes)}}
    axes = tuple(range(len(window)))
    manager = plans.get_configuration("bench")
    predictor.manual_initialization(network, plans, manager, None, {"labels": labels}, "bench", axes)
    return lambda volume: predictor.predict_sliding_window_return_logits(volume[0]).argmax(0)


def one_pass(network: torch.nn.Module) -> Segment:
    """The bound: every voxel once through the network in bf16, in pieces of `SMALL`; no labels come of it."""

    def segment(volume: torch.Tensor) -> torch.Tensor:
        pieces = [range(0, length, piece) for length, piece in zip(volume.shape[2:], SMALL, strict=True)]
        for corner in itertools.product(*pieces):
            piece = volume[(..., *(slice(at, at + side) for at, side in zip(corner, SMALL, strict=True)))]
            missing = [-side % 32 for side in reversed(piece.shape[2:])]
            padded = torch.nn.functional.pad(piece, [each for side in missing for each in (0, side)])
            with autocast(CPU, torch.bfloat16):
                network(padded)
        return volume.new_empty(0)

    return segment


# Time


@dataclass
class Timed:
    """Seconds of every round; none of them with the reason why."""

    seconds: list[float] = field(default_factory=list)
    missing: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else math.nan


def interleaved(
    contestants: dict[str, Segment], volume: torch.Tensor, repeats: int, minutes: float
) -> dict[str, Timed]:
    """Every contestant once a round. The first round is thrown away, unless there was no time for another."""
    found = {name: Timed() for name in contestants}
    began = time.perf_counter()
    for turn in range(REPEATS + 1):
        for name, segment in contestants.items():
            found[name].seconds.append(seconds_of(segment, volume))
        spent = time.perf_counter() - began
        tell(
            f"  round {turn} of {repeats}: " + ", ".join(f"{name} {one.seconds[-1]:.2f}" for name, one in found.items())
        )
        if spent * (turn + 2) / (turn + 1) > 60 * minutes:
            break
    for timed in found.values():
        timed.seconds = timed.seconds[1:] or timed.seconds
    return found


@torch.inference_mode()
def seconds_of(segment: Segment, volume: torch.Tensor) -> float:
    began = time.perf_counter()
    segment(volume)
    return time.perf_counter() - began


def forecast(segment: Segment, shape: Sequence[int]) -> float:
    """Minutes that a peer will take, from its time for four windows."""
    step = [int(side * (1 - OVERLAP)) for side in WINDOW]
    per_window = seconds_of(segment, noise((WINDOW[0] + 3 * step[0], *WINDOW[1:]))) / 4
    counts = (
        max(0, math.ceil((length - side) / each)) + 1 for length, side, each in zip(shape, WINDOW, step, strict=True)
    )
    return math.prod(counts) * per_window / 60


def noise(shape: Sequence[int]) -> torch.Tensor:
    return torch.empty(1, 1, *shape).normal_(generator=torch.Generator().manual_seed(0))


def speed(report: Report, options: Any) -> None:
    if options.quick:
        speed_of("spleen U-Net", SMALL, 2, report, options)
        return
    for shape, classes, name in itertools.product((SMALL, LARGE), (2, 105), options.networks):
        speed_of(name, shape, classes, report, options)


def speed_of(name: str, shape: Sequence[int], classes: int, report: Report, options: Any) -> None:
    """One network on one volume, everybody's time."""
    tell(f"speed: {name}, {by(shape)}, {classes} classes")
    network, volume = network_of(name, classes), noise(shape)
    peers = {
        "MONAI, batch 1": stock(network, WINDOW, batch=1),
        "MONAI, batch 4": stock(network, WINDOW, batch=4),
        "MONAI, batch 4, bf16": stock(network, WINDOW, batch=4, precision=torch.bfloat16),
    }
    if HAS_NNUNET:
        for label, mirror in {"nnU-Net": False, "nnU-Net, mirrored": True}.items():
            peers[label] = nnunet(network, WINDOW, classes=classes, mirror=mirror)
    if options.quick:
        peers.pop("nnU-Net, mirrored", None)
    running = {
        "medseg, same windows": ours(network, WINDOW, mode="same", batch=1),
        "medseg, auto": ours(network, WINDOW, mode="auto"),
        "one bf16 pass": one_pass(network),
    }
    left_out = {}
    for label, segment in peers.items():
        values = 2 if "nnU-Net" in label else 4
        needed = volume.nelement() * (classes + 3) * values / GB
        if needed > options.memory:
            left_out[label] = Timed(missing=f"would need {needed:.0f} GB")
        elif not options.quick and (expected := forecast(segment, shape)) > options.minutes / 2:
            left_out[label] = Timed(missing=f"not run: about {expected:.0f} min")
        else:
            running = {label: segment, **running}
    found = interleaved(running, volume, options.minutes) | left_out
    base, bound = found["MONAI, batch 1"].median, found["one bf16 pass"].median
    rows = []
    for label in (*peers, "medseg, same windows", "medseg, auto", "one bf16 pass"):
        timed = found[label]
        cells = [
            f"{timed.median:.2f} s",
            str(len(timed.seconds)),
            ratio(base / timed.median),
            ratio(timed.median / bound),
        ]
        rows.append([label, *(cells if timed.seconds else [timed.missing, "-", "-", "-"])])
    report.table(
        f"{name}, {by(shape)}, {classes} classes", ["", "median", "runs", "times MONAI, batch 1", "of one pass"], rows
    )
    if (name, tuple(shape), classes) == ("spleen U-Net", SMALL, 2):
        auto = found["medseg, auto"].median
        report.numbers["speedup_equal_windows"] = base / found["medseg, same windows"].median
        report.numbers["speedup_auto"] = base / auto
        report.numbers["speedup_auto_batch4"] = found["MONAI, batch 4"].median / auto
        report.numbers["bound_ratio"] = auto / bound


# Accuracy


@dataclass(frozen=True)
class Task:
    """A bundle, the folder of its dataset, the fold to measure on, and the window of its inferer."""

    bundle: str
    dataset: str
    fold: int | str
    window: tuple[int, ...]


TASKS = {
    "hippocampus": Task("hippocampus_mri_3d", "hippocampus", 4, (40, 56, 40)),
    "retina": Task("retina_vessels_2d", "drive", "test", (256, 256)),
    "ct": Task("phantom_ct_3d", "", "all", (64, 64, 32)),
}


def ct_bundle(options: Any) -> tuple[Path, Path]:
    """Weights of the made-up CT's bundle and a dataset of others of its patients; made where they are not yet."""
    from medseg.bundle.run import find_bundle, run_bundle
    from medseg.data.phantom import make_phantom

    weights, patients = KEPT / "training" / "models" / "model.pt", KEPT / "patients"
    for folder, seed in ((KEPT / "phantom", 0), (patients, 1)):
        if not folder.exists():
            make_phantom(folder, seed=seed)
    if not weights.exists():
        tell("training the bundle of the made-up CT")
        given = {"dataset_dir": str(KEPT / "phantom"), "output_dir": str(weights.parents[1]), "device": "cpu"}
        run_bundle(
            find_bundle(TASKS["ct"].bundle),
            "train.yaml",
            overrides=given | {"tracking_uri": f"sqlite:///{KEPT}/mlflow.db"},
        )
    return weights, patients


def accuracy(report: Report, options: Any) -> None:
    """Labels of trained bundles against MONAI's, and both against the truth."""
    rows, found = [], []
    for name, (weights, dataset) in trained_bundles(options).items():
        tell(f"accuracy: {name}")
        scores = np.nanmean(list(compared(TASKS[name], weights, dataset, 5 if options.quick else None)), axis=0)
        count, means = int(scores[0]), scores[1:]
        same, auto, stock_truth, same_truth, auto_truth = means
        found.append((same, auto, stock_truth - auto_truth))
        truths = [f"{each:.4f}" for each in (stock_truth, same_truth, auto_truth)]
        rows.append([name, str(count), f"{same:.5f}", f"{auto:.5f}", *truths])
    columns = ["same windows", "auto", "MONAI, truth", "same windows, truth", "auto, truth"]
    report.table("Dice against MONAI's labels, and against the truth", ["bundle", "cases", *columns], rows)
    report.numbers["dice_equal_windows"] = min(each[0] for each in found)
    report.numbers["dice_auto"] = min(each[1] for each in found)
    report.numbers["truth_dice_loss"] = max(each[2] for each in found)


def trained_bundles(options: Any) -> dict[str, tuple[Path, Path]]:
    """Weights and dataset of every task that has both."""
    from medseg.bundle.run import find_bundle

    shipped = find_bundle(TASKS["hippocampus"].bundle) / "models" / "model.pt"
    weights = {"hippocampus": shipped} | {name: Path(file) for name, file in pairs(options.weights)}
    found = {"ct": ct_bundle(options)}
    for name, file in weights.items():
        dataset = dict(pairs(options.data)).get(name) or Path(os.environ.get("MEDSEG_DATA", "")) / TASKS[name].dataset
        if Path(dataset).is_dir() and file.is_file():
            found[name] = (file, Path(dataset))
        else:
            tell(f"no dataset at {dataset} or no weights at {file}: {name} is left out")
    return found


@torch.inference_mode()
def compared(task: Task, weights: Path, dataset: Path, most: int | None) -> Iterator[list[float]]:
    """Of every case: their number; Dice of ours (same, auto) with MONAI's labels; of MONAI and both with the truth."""
    from medseg.bundle.run import find_bundle
    from medseg.bundle.trained import trained
    from medseg.bundle.weights import load_weights
    from medseg.data.dataset import load_labelled

    parser = trained(str(find_bundle(task.bundle)), str(weights))
    network, transform = parser.network_def.eval(), parser.preprocessing
    load_weights(network, str(weights))
    coding = {"label_reader": parser.label_reader} if "label_reader" in parser else {}
    cases = load_labelled(str(dataset), metadata=parser["_meta_"], fold=task.fold, max_cases=most, **coding)
    contestants = [
        stock(network, task.window, batch=4),
        ours(network, task.window, mode="same"),
        ours(network, task.window, mode="auto"),
    ]
    for case in cases:
        data = transform({"image": case["image"], "label": case["truth"]})
        volume, truth = torch.as_tensor(np.asarray(data["image"]))[None], np.asarray(data["label"])[0]
        expected, *others = (np.asarray(segment(volume)) for segment in contestants)
        against_stock = [mean_dice(expected, each) for each in others]
        yield [len(cases), *against_stock, *(mean_dice(truth, each) for each in (expected, *others))]


def mean_dice(label: Any, segmentation: Any) -> float:
    """The mean of the foreground classes that either of them has."""
    values = sorted({*np.unique(label).tolist(), *np.unique(segmentation).tolist()} - {0})
    return float(np.mean([dice(label == value, segmentation == value) for value in values])) if values else math.nan


# From file to file


def file_to_file(report: Report, options: Any) -> None:
    """A prediction's time from file to file over its network's, three scans of a made-up torso in one folder."""
    from medseg.bundle.run import find_bundle, run_bundle

    tell("file to file")
    weights, _ = ct_bundle(options)
    scans = torsos(3)
    given = {"input": str(scans), "output_dir": str(KEPT / "predictions"), "device": "cpu", "checkpoint": str(weights)}
    predictor = run_bundle(find_bundle("phantom_ct_3d"), "inference.yaml", overrides=given).parser.evaluator
    whole, network = [], []
    for _ in range(2 if options.quick else 5):
        with inputs_of(predictor.network) as windows:
            began = time.perf_counter()
            predictor.run()
            whole.append(time.perf_counter() - began)
        with autocast(CPU, pick_precision(CPU)):
            network.append(sum(seconds_of(predictor.network, torch.zeros(window)) for window in windows))
    seconds = [statistics.median(each) / len(predictor.rows) for each in (whole, network)]
    report.numbers["file_to_network_ratio"] = seconds[0] / seconds[1]
    shape = by(nibabel.load(next(scans.iterdir())).shape)
    row = [shape, str(len(windows) // len(predictor.rows)), *(f"{each:.2f} s" for each in seconds)]
    header = ["scan", "network's calls", "file to file", "network alone", "ratio"]
    report.table("From file to file, a scan", header, [[*row, ratio(seconds[0] / seconds[1])]])


@contextmanager
def inputs_of(network: torch.nn.Module) -> Iterator[list[torch.Size]]:
    """The shapes that go through a network."""
    shapes: list[torch.Size] = []
    hook = network.register_forward_pre_hook(lambda _module, inputs: shapes.append(inputs[0].shape))
    yield shapes
    hook.remove()


def torsos(count: int) -> Path:
    """A folder of scans as large as an adult's: one of the made-up patients several times, side by side."""
    folder = KEPT / "torsos"
    if not folder.exists():
        patient = nibabel.load(KEPT / "patients" / "images" / "case_004.nii.gz")
        factors = np.array(patient.header.get_zooms()) / (0.75, 0.75, 3)
        hu = zoom(np.tile(np.asarray(patient.dataobj), (2, 3, 4)), factors, order=1)
        folder.mkdir()
        for number in range(count):
            scan = nibabel.Nifti1Image(hu.astype(np.int16), patient.affine @ np.diag([*1 / factors, 1]))
            nibabel.save(scan, folder / f"torso_{number}.nii.gz")
    return folder


# Equality


@torch.inference_mode()
def equality(report: Report, options: Any) -> None:
    """The largest difference of probabilities over random shapes, windows, overlaps and batches, in 2D and 3D."""
    count = 20 if options.quick else 200
    tell(f"equality: {count} random settings")
    from medseg.inference import SlidingWindow

    rng, largest = np.random.default_rng(0), 0.0
    for turn in range(count):
        dims = 2 + turn % 2
        torch.manual_seed(turn)
        network = UNet(dims, 1, 3, (4, 8, 16), (2, 2), num_res_units=1).eval()
        shape, window = rng.integers(5, 50, dims).tolist(), (4 * rng.integers(2, 9, dims)).tolist()
        overlap, batch = float(rng.choice([0, 0.25, 0.5, 0.6, 0.75])), int(rng.integers(1, 6))
        blending = str(rng.choice(["gaussian", "constant"]))
        settings = {"roi_size": window, "sw_batch_size": batch, "overlap": overlap, "mode": blending}
        image = torch.randn(1, 1, *shape)
        expected, found = (
            inferer(image, network).softmax(1)
            for inferer in (SlidingWindowInferer(**settings), SlidingWindow(**settings, window="same"))
        )
        largest = max(largest, float((expected - found).abs().max()))
    report.table(
        "Equality in fp32", ["random settings", "largest difference of probabilities"], [[str(count), f"{largest:.1e}"]]
    )
    report.numbers["max_probability_difference"] = largest


# Memory, each in a process of its own


def child(spec: dict[str, Any]) -> None:
    """Segment one volume in this process and print the seconds, and the bytes of its peak and of what it holds."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(spec["limit"]),) * 2)
    network, volume = network_of(spec["network"], spec["classes"]), noise(spec["shape"])
    segment = {
        "medseg": lambda: ours(network, WINDOW, mode="auto"),
        "MONAI": lambda: stock(network, WINDOW, batch=4),
        "nnU-Net": lambda: nnunet(network, WINDOW, classes=spec["classes"], mirror=False),
    }[spec["who"]]
    with redirect_stdout(sys.stderr):
        seconds = seconds_of(segment(), volume)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "input": volume.nbytes, "labels": volume.nelement()}))


def in_child(limit_gb: float, minutes: float, **spec: Any) -> dict[str, float] | None:
    """What `child` found; None if it ran out of memory or of time."""
    command = [sys.executable, __file__, "--child", json.dumps({"limit": limit_gb * GB, **spec})]
    tell(f"memory: {spec}")
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(run.stdout.splitlines()[-1]) if run.returncode == 0 else None


def memory(report: Report, options: Any) -> None:
    """Peaks of 105 classes: ours of the whole volume, the others' of as many slices as they survive."""
    network, slices = ("thin U-Net", 100) if options.quick else (options.memory_network, 1000)
    rows = []
    for who in ("medseg", "MONAI", *(["nnU-Net"] if HAS_NNUNET and not options.quick else [])):
        count, found = 2 * slices, None
        while found is None and count > 10:
            count //= 2
            found = in_child(
                options.memory, options.minutes, who=who, network=network, classes=105, shape=(512, 512, count)
            )
        if found is None:
            rows.append([who, "none", "-", "-", "-", "-"])
            continue
        needed = found["input"] + found["labels"]
        beyond = found["peak"] - needed
        cells = (found["peak"], needed, beyond)
        rows.append([who, str(count), f"{found['seconds']:.0f} s", *(f"{each / GB:.2f} GB" for each in cells)])
        if who == "medseg":
            report.numbers["peak_ratio_105_classes"] = found["peak"] / (needed + 1.5 * GB)
    title = f"Peak memory, {network}, 512 x 512 x {slices} voxels, 105 classes, {options.memory:.0f} GB allowed"
    report.table(title, ["", "slices survived", "time", "peak", "input and labels", "beyond them"], rows)


def growth(report: Report, options: Any) -> None:
    """Time and peak of volumes of one, two, four and eight times as many slices."""
    if options.quick:
        return
    rows, sizes, seconds = [], [], []
    for times in (1, 2, 4, 8):
        shape = (192, 192, 64 * times)
        found = in_child(options.memory, options.minutes, who="medseg", network="spleen U-Net", classes=2, shape=shape)
        if found is None:
            continue
        sizes.append(times)
        seconds.append(found["seconds"])
        beyond = (found["peak"] - found["input"] - found["labels"]) / GB
        rows.append([by(shape), f"{found['seconds']:.2f} s", f"{found['peak'] / GB:.2f} GB", f"{beyond:.2f} GB"])
    exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    header = ["spleen U-Net, 2 classes", "time", "peak", "beyond input and labels"]
    report.table(f"Growth: time goes with the number of voxels to the power of {exponent:.2f}", header, rows)


PARTS = {
    "speed": speed,
    "accuracy": accuracy,
    "file": file_to_file,
    "memory": memory,
    "growth": growth,
    "equality": equality,
}


# The report


class Report:
    """Tables for people and numbers for machines."""

    def __init__(self) -> None:
        self.tables: list[str] = []
        self.numbers: dict[str, float] = {}

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = [header, ["---"] * len(header), *rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        self.tables.append(f"### {title}\n\n{text}\n")
        tell(self.tables[-1])


KEYS = (
    "speedup_equal_windows",
    "speedup_auto",
    "speedup_auto_batch4",
    "dice_equal_windows",
    "dice_auto",
    "truth_dice_loss",
    "bound_ratio",
    "file_to_network_ratio",
    "peak_ratio_105_classes",
    "max_probability_difference",
)


def machine() -> str:
    """One line: processor, cores, memory and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "CPU")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GB
    packages = [name for name in ("torch", "monai", "nnunetv2") if util.find_spec(name)]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"{model}, {torch.get_num_threads()} threads, {total:.0f} GB; Python {sys.version.split()[0]}, {versions}"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def pairs(words: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for word in words:
        name, _, path = word.partition("=")
        if name not in TASKS or not path:
            raise SystemExit(f"bench_inference: '{word}': expected NAME=PATH with one of {', '.join(TASKS)}")
        yield name, Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller")
    parser.add_argument("--json", action="store_true", help="one object on stdout instead of tables")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=FILE", help=f"NAME: {', '.join(TASKS)}")
    parser.add_argument("--data", nargs="+", default=[], metavar="NAME=FOLDER", help="its dataset")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS)[:2])
    parser.add_argument("--minutes", type=float, default=30, help="for one network on one volume")
    parser.add_argument("--memory", type=float, default=24, help="GB that a contestant may take")
    parser.add_argument("--memory-network", choices=NETWORKS, default="spleen U-Net")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if options.child:
        child(json.loads(options.child))
        return
    began, report = time.perf_counter(), Report()
    if not HAS_NNUNET:
        tell("nnunetv2 is not installed here: its lines are left out")
    with redirect_stdout(sys.stderr):
        for name in options.only:
            PARTS[name](report, options)
    tell(f"{time.perf_counter() - began:.0f} s")
    if options.json:
        print(json.dumps({key: report.numbers[key] for key in KEYS if key in report.numbers}, indent=2))
    else:
        print(f"`{' '.join(sys.argv)}` on {machine()}\n", *report.tables, sep="\n")


if __name__ == "__main__":
    main()
