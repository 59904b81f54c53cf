#!/usr/bin/env python3
"""Sliding-window inference measured: medseg beside MONAI's SlidingWindowInferer and nnU-Net's predictor.

    .venv/bin/python scripts/bench_inference.py --quick [--json]      five minutes on two cores, needs no data
    .venv/bin/python scripts/bench_inference.py [--only speed accuracy] > tables.md      hours

Everything runs on the CPU, with as many threads as this process has cores; with --device cuda the speed, from a
volume in main memory to its labels there, beside the same windows through the network and nothing else. Contestants
are timed in one process, one after the other in every round; the figure is the median. All blend
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
    file_to_network_ratio       seconds of a prediction from file to file / of the network in the windows used, made-up
                                CTs of 185 x 209 x 124 voxels, which lie as the bundle wants them
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
import shutil
import statistics
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

warnings.simplefilter("ignore")

import nibabel  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from monai.inferers import SlidingWindowInferer  # noqa: E402
from monai.networks.nets import DynUNet, UNet  # noqa: E402
from scipy.ndimage import zoom  # noqa: E402

from medseg.bundle.run import find_bundle, run_bundle  # noqa: E402
from medseg.bundle.trained import trained  # noqa: E402
from medseg.bundle.weights import load_weights, save_weights  # noqa: E402
from medseg.cli import PREDICTS_WITH  # noqa: E402
from medseg.data.dataset import load_labelled  # noqa: E402
from medseg.data.phantom import make_phantom  # noqa: E402
from medseg.device import autocast, check_device  # noqa: E402
from medseg.inference import Decision, SlidingWindow  # noqa: E402
from medseg.inference.prepared import Prepared  # noqa: E402
from medseg.inference.restoring.label_map import Drawing  # noqa: E402
from medseg.inference.restoring.source_grid import SourceGrid  # noqa: E402
from medseg.metrics import dice  # noqa: E402

GB = 1e9
WINDOW, OVERLAP, REPEATS = (96, 96, 96), 0.5, 5
SMALL, LARGE = (192, 192, 128), (512, 512, 300)
AS_TRAINED, FINE = (2, 2, 4.5), (0.75, 0.75, 3)  # mm, of scans: as the CT bundle resamples them, and as scanners do
SHAPES = {"small": SMALL, "large": LARGE}
WINDOW_MEMORY = 0.6 * GB  # what our windows are told to take where memory counts
KEPT = Path(__file__).parents[1] / "runs" / "bench_inference"
HAS_NNUNET = util.find_spec("nnunetv2") is not None

now = time.perf_counter  # or, with --busy, time.process_time
device = torch.device("cpu")  # or that of --device
Network = torch.nn.Module
Segment = Callable[[torch.Tensor], torch.Tensor]  # a volume (1, channel, spatial...) to its labels (spatial...)


# Networks and contestants


def spleen_unet(classes: int) -> Network:
    return UNet(3, 1, classes, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="BATCH")


def dynunet(classes: int) -> Network:
    return DynUNet(out_channels=classes, **DYNUNET)


DYNUNET: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "kernel_size": [3] * 6,
    "strides": [1, 2, 2, 2, 2, 2],
    "upsample_kernel_size": [2] * 5,
    "filters": [32, 64, 128, 256, 320, 320],
}


def thin_dynunet(classes: int) -> Network:
    """Next to no network: what is left is what stitches."""
    return DynUNet(3, 1, classes, [3] * 3, (1, 2, 2), (2, 2), filters=(8, 16, 16))


NETWORKS = {"spleen U-Net": spleen_unet, "DynUNet": dynunet, "thin DynUNet": thin_dynunet}


def network_of(name: str, classes: int) -> Network:
    torch.manual_seed(0)
    return NETWORKS[name](classes).eval().to(device)


def ours(
    network: Network,
    window: Sequence[int],
    mode: str,
    batch: int = 4,
    memory: float | None = None,
    precision: str = "auto",
) -> Segment:
    """The engine, piece by piece to labels as a prediction does it; `mode` is its `window`: `trained` or `auto`."""
    engine = SlidingWindow(window, batch, OVERLAP, "gaussian", window=mode, memory=memory)
    network = Prepared(network, backend="auto", device=device, precision=precision, images=1000)

    def segment(volume: torch.Tensor) -> torch.Tensor:
        drawing = Drawing(SourceGrid.itself(volume.shape[2:]), Decision(), ())
        for piece in engine.pieces(volume[0].to(device), network):
            drawing.add(piece)
        return torch.from_numpy(drawing.labels)

    return segment


def drop_in(network: Network, window: Sequence[int]) -> Segment:
    """What another's bundle gains by its inferer's `_target_` alone: the network as it is, in fp32."""
    inferer = SlidingWindow(window, 1, OVERLAP, "gaussian", window="auto")
    return lambda volume: inferer(volume.to(device), network)[0].argmax(0).cpu()


def stock(network: Network, window: Sequence[int], batch: int, precision: torch.dtype = torch.float32) -> Segment:
    inferer = SlidingWindowInferer(window, batch, OVERLAP, mode="gaussian")

    def segment(volume: torch.Tensor) -> torch.Tensor:
        with autocast(device, precision):
            return inferer(volume.to(device), network)[0].argmax(0).cpu()

    return segment


def nnunet(network: Network, window: Sequence[int], classes: int, mirror: bool) -> Segment:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    configuration = {"patch_size": list(window), "architecture": {}}
    plans = PlansManager({"configurations": {"bench": configuration}, "label_manager": "LabelManager"})
    predictor = nnUNetPredictor(1 - OVERLAP, use_mirroring=mirror, device=device, allow_tqdm=False)
    labels = {"background": 0, **{f"class {value}": value for value in range(1, classes)}}
    manager, axes = plans.get_configuration("bench"), tuple(range(len(window)))
    predictor.manual_initialization(network, plans, manager, None, {"labels": labels}, "bench", axes)
    return lambda volume: predictor.predict_sliding_window_return_logits(volume[0]).argmax(0).cpu()


def one_pass(network: Network) -> Segment:
    """The bound: every voxel once through the network in bf16, in pieces of `SMALL`; no labels come of it."""

    def segment(volume: torch.Tensor) -> torch.Tensor:
        volume = volume.to(device)
        for corner in itertools.product(*map(range, [0, 0, 0], volume.shape[2:], SMALL)):
            piece = volume[(..., *(slice(at, at + side) for at, side in zip(corner, SMALL, strict=True)))]
            missing = [(0, -side % 32) for side in reversed(piece.shape[2:])]
            with autocast(device, torch.bfloat16):
                network(torch.nn.functional.pad(piece, sum(missing, ())))
        return volume.new_empty(0)

    return segment


def windows_alone(network: Network, window: Sequence[int], batch: int) -> Segment:
    """As many windows as everybody has, in bf16, through the network and nowhere: what a bare loop reaches."""

    def segment(volume: torch.Tensor) -> torch.Tensor:
        seen = torch.zeros(batch, 1, *window, device=device)
        for _ in range(math.ceil(windows_in(volume.shape[2:], window) / batch)):
            with autocast(device, torch.bfloat16):
                network(seen)
        return volume.new_empty(0)

    return segment


def windows_in(shape: Sequence[int], window: Sequence[int]) -> int:
    step = [int(side * (1 - OVERLAP)) for side in window]
    return math.prod(math.ceil((a - b) / c) + 1 for a, b, c in zip(shape, window, step, strict=True))


# Speed


def speed(report: Report, options: argparse.Namespace) -> None:
    shapes, classes, networks = [SHAPES[name] for name in options.shapes], options.classes, options.networks
    if options.quick:
        shapes, classes, networks = [SMALL], [2], ["spleen U-Net"]
    for shape, count, name in itertools.product(shapes, classes, networks):
        tell(f"speed: {name}, {by(shape)}, {count} classes")
        found = times_of(name, shape, count, report, options)
        if (name, shape, count) == ("spleen U-Net", SMALL, 2):
            auto = found["medseg, auto"]
            report.numbers["speedup_equal_windows"] = found["MONAI, batch 1"] / found["medseg, same windows"]
            report.numbers["speedup_auto"] = found["MONAI, batch 1"] / auto
            report.numbers["speedup_auto_batch4"] = found["MONAI, batch 4"] / auto
            report.numbers["bound_ratio"] = auto / found["one bf16 pass"]


def times_of(
    name: str, shape: Sequence[int], classes: int, report: Report, options: argparse.Namespace
) -> dict[str, float]:
    """Everybody's median seconds on one volume."""
    network, volume = network_of(name, classes), noise(shape)
    peers = {"MONAI, batch 1": stock(network, WINDOW, 1), "MONAI, batch 4": stock(network, WINDOW, 4)}
    if not options.quick:
        peers["MONAI, batch 4, bf16"] = stock(network, WINDOW, 4, torch.bfloat16)
    if HAS_NNUNET and not options.quick:
        peers["nnU-Net"] = nnunet(network, WINDOW, classes, mirror=False)
        peers["nnU-Net, mirrored"] = nnunet(network, WINDOW, classes, mirror=True)
    own = {
        "medseg, same windows": ours(network, WINDOW, "trained", batch=1),
        "medseg, auto": ours(network, WINDOW, "auto"),
        "medseg, largest": ours(network, WINDOW, "largest"),
        "medseg, auto, its inferer alone": drop_in(network, WINDOW),
        "one bf16 pass": one_pass(network),
    }
    if options.quick:
        del own["medseg, largest"], own["medseg, auto, its inferer alone"]
    if device.type == "cuda":
        own["medseg, same windows in fours"] = ours(network, WINDOW, "trained")
        own["those windows alone, in fours"] = windows_alone(network, WINDOW, batch=4)
    refused = {label: why for label, each in peers.items() if (why := too_much(label, each, shape, classes, options))}
    running = {label: each for label, each in peers.items() if label not in refused} | own
    rounds = interleaved(running, volume, options.minutes)
    medians = {label: statistics.median(seconds) for label, seconds in rounds.items()}
    base, bound = medians.get("MONAI, batch 1", math.nan), medians["one bf16 pass"]
    report.table(
        f"{name}, {by(shape)}, {classes} classes, {len(rounds['one bf16 pass'])} runs",
        ["", "median", "MONAI, batch 1, takes as much times", "one pass takes as much times"],
        [
            [label, f"{medians[label]:.2f} s", ratio(base / medians[label]), ratio(medians[label] / bound)]
            if label in medians
            else [label, refused[label], "-", "-"]
            for label in (*peers, *own)
        ],
    )
    return medians


def interleaved(contestants: dict[str, Segment], volume: torch.Tensor, minutes: float) -> dict[str, list[float]]:
    """Everybody once a round. The first round is thrown away, unless there is no time for another."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    began = time.perf_counter()
    for turn in range(REPEATS + 1):
        for name, segment in contestants.items():
            found[name].append(seconds_of(segment, volume))
        tell("  " + ", ".join(f"{name} {seconds[-1]:.2f}" for name, seconds in found.items()))
        if (time.perf_counter() - began) * (turn + 2) / (turn + 1) > 60 * minutes:
            break
    return {name: seconds[1:] or seconds for name, seconds in found.items()}


@torch.inference_mode()
def seconds_of(segment: Segment, volume: torch.Tensor) -> float:
    began = now()
    segment(volume)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return now() - began


def too_much(label: str, segment: Segment, shape: Sequence[int], classes: int, options: argparse.Namespace) -> str:
    """Why a peer is not run, if it is not: it holds all classes of all voxels, and takes as long as its windows."""
    needed = math.prod(shape) * (classes + 3) * (2 if "nnU-Net" in label else 4) / GB
    if needed > options.memory:
        return f"would need {needed:.0f} GB"
    if options.quick:
        return ""
    four = seconds_of(segment, noise((WINDOW[0] + 3 * int(WINDOW[0] * (1 - OVERLAP)), *WINDOW[1:])))
    minutes = windows_in(shape, WINDOW) * four / 4 / 60
    return f"not run: about {minutes:.0f} min" if minutes > options.minutes / 2 else ""


def noise(shape: Sequence[int]) -> torch.Tensor:
    return torch.empty(1, 1, *shape).normal_(generator=torch.Generator().manual_seed(0))


# Accuracy


class Task(NamedTuple):
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


def accuracy(report: Report, options: argparse.Namespace) -> None:
    """Labels of trained bundles against MONAI's, and both against the truth."""
    rows, means = [], []
    for name, (weights, dataset) in trained_bundles(options).items():
        tell(f"accuracy: {name}")
        scores = list(compared(TASKS[name], weights, dataset, 5 if options.quick else None))
        same, auto, largest, *truths = np.nanmean(scores, axis=0)
        means.append((same, auto, truths[0] - truths[2]))
        cells = [f"{each:.5f}" for each in (same, auto, largest)] + [f"{each:.5f}" for each in truths]
        rows.append([name, str(len(scores)), *cells])
    against = [f"{mode}, {whom}" for whom in ("MONAI", "truth") for mode in ("same windows", "auto", "largest")]
    header = ["bundle", "cases", *against[:3], "MONAI, truth", *against[3:]]
    report.table("Dice against MONAI's labels, and against the truth", header, rows)
    same, auto, loss = zip(*means, strict=True)
    report.numbers |= {"dice_equal_windows": min(same), "dice_auto": min(auto), "truth_dice_loss": max(loss)}


def trained_bundles(options: argparse.Namespace) -> dict[str, tuple[Path, Path]]:
    """Weights and dataset of every task that has both."""
    shipped = find_bundle(TASKS["hippocampus"].bundle) / "models" / "model.pt"
    weights = {"ct": ct_weights(), "hippocampus": shipped} | paths(options.weights)
    datasets = {name: Path(os.environ.get("MEDSEG_DATA", "no-data")) / task.dataset for name, task in TASKS.items()}
    datasets |= {"ct": patients()} | paths(options.data)
    there = {name: (file, datasets[name]) for name, file in weights.items() if datasets[name].is_dir()}
    for name in weights.keys() - there.keys():
        tell(f"{name} is left out: no dataset at {datasets[name]}; give it with --data or MEDSEG_DATA")
    return there


@torch.inference_mode()
def compared(task: Task, weights: Path, dataset: Path, most: int | None) -> Iterator[list[float]]:
    """Of every case the Dice of ours (same, auto, largest) with MONAI's labels; of MONAI's and ours with the truth."""
    parser = trained(str(find_bundle(task.bundle)), str(weights))
    network, transform = parser.network_def.eval(), parser.preprocessing
    load_weights(network, str(weights))
    coding = {"label_reader": parser.label_reader} if "label_reader" in parser else {}
    cases = load_labelled(str(dataset), metadata=parser["_meta_"], fold=task.fold, max_cases=most, **coding)
    precision = parser.get_parsed_content("precision")
    own = [ours(network, task.window, mode, precision=precision) for mode in ("trained", "auto", "largest")]
    for case in cases:
        data = transform({"image": case["image"], "label": case["truth"]})
        volume, truth = torch.as_tensor(np.asarray(data["image"]))[None], np.asarray(data["label"])[0]
        found = [segment(volume).numpy() for segment in (stock(network, task.window, 4), *own)]
        yield [mean_dice(found[0], each) for each in found[1:]] + [mean_dice(truth, each) for each in found]


def mean_dice(label: Any, segmentation: Any) -> float:
    """The mean of the foreground classes that either of them has."""
    values = {*np.unique(label).tolist(), *np.unique(segmentation).tolist()} - {0}
    return float(np.mean([dice(label == value, segmentation == value) for value in values])) if values else math.nan


# The bundle of the made-up CT


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once; one that was not finished is made again."""
    folder, half = KEPT / name, KEPT / f"{name}.half"
    if not folder.exists():
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        make(half)
        half.rename(folder)
    return folder


def patients() -> Path:
    """Patients of the made-up CT that its training does not know."""
    return kept("patients", lambda folder: make_phantom(folder, seed=1))


def ct_weights() -> Path:
    dataset = kept("phantom", make_phantom)

    def train(folder: Path) -> None:
        tell("training the bundle of the made-up CT")
        given = {"dataset_dir": dataset, "output_dir": folder, "tracking_uri": f"sqlite:///{KEPT}/mlflow.db"}
        run_bundle(
            find_bundle(TASKS["ct"].bundle), "train.yaml", overrides={id: str(each) for id, each in given.items()}
        )

    config = (find_bundle(TASKS["ct"].bundle) / "configs" / "train.yaml").read_bytes()
    return kept(f"training_{zlib.crc32(config):08x}", train) / "models" / "model.pt"


def torsos(spacing: Sequence[float]) -> Path:
    """Six times the scan of a torso as large as an adult's: one of the patients several times, side by side."""

    def make(folder: Path) -> None:
        patient = nibabel.load(patients() / "images" / "case_002.nii.gz")
        factors = np.array(patient.header.get_zooms()) / spacing
        hu = zoom(np.tile(np.asarray(patient.dataobj, np.float32), (2, 3, 4)), factors, order=1).astype(np.int16)
        first = folder / "torso_0.nii.gz"
        nibabel.save(nibabel.Nifti1Image(hu, patient.affine @ np.diag([*1 / factors, 1])), first)
        for number in range(1, 6):
            shutil.copy(first, folder / f"torso_{number}.nii.gz")

    return kept("torsos_" + by(spacing).replace(" ", ""), make)


# From file to file


def file_to_file(report: Report, options: argparse.Namespace) -> None:
    """What a prediction takes a scan, all in all, and the network alone on the windows that it was given.

    In a process of its own, with the environment that `medseg predict` gives itself.
    """
    rows = []
    cases = [("the bundle's U-Net", AS_TRAINED), ("the bundle's U-Net", FINE), ("DynUNet", FINE)]
    for name, spacing in cases[:1] if options.quick else cases:
        tell(f"file to file: {name}, {by(spacing)} mm")
        spec = {"network": name, "spacing": spacing, "repeats": 1 if options.quick else 3}
        run = in_process(spec, options, env=PREDICTS_WITH | os.environ, stderr=None, check=True)
        size, calls, whole, alone = json.loads(run.stdout.splitlines()[-1])
        seconds = f"{whole:.2f} s", f"{alone:.2f} s"
        rows.append([name, by(size), by(spacing), str(calls), *seconds, ratio(whole / alone)])
        report.numbers.setdefault("file_to_network_ratio", whole / alone)
    header = ["", "scan", "mm", "network's calls", "file to file", "network alone", "ratio"]
    report.table("From file to file", header, rows)


def predicted(network: str, spacing: Sequence[float], repeats: int) -> tuple[Sequence[int], int, float, float]:
    """A scan's size, its windows' batches, and the medians of its seconds from file to file and in the network."""
    scans, weights = torsos(spacing), ct_weights()
    folders = {"input": str(scans), "output_dir": str(KEPT / "predictions")}
    given: dict[str, Any] = folders | {"checkpoint": str(weights), "device": "cpu"}
    if network == "DynUNet":  # untrained, in the place of the bundle's own
        save_weights(network_of(network, 4), KEPT / "dynunet.pt")
        inferer = {"_target_": "medseg.inference.SlidingWindow", "roi_size": list(WINDOW), "overlap": OVERLAP}
        given |= {
            "checkpoint": str(KEPT / "dynunet.pt"),
            "network_def": {"_target_": "DynUNet", "out_channels": 4, **DYNUNET},
            "inferer": inferer | {"mode": "gaussian"},
        }
    predictor = run_bundle(find_bundle(TASKS["ct"].bundle), "inference.yaml", overrides=given).parser.evaluator
    whole, alone = [], []
    for _ in range(repeats):
        began = now()
        with shapes_through(predictor.network) as shapes:
            predictor.run()
        whole.append((now() - began) / len(predictor.rows))
        seconds = sum(seconds_of(predictor.network, torch.zeros(shape)) for shape in shapes)
        alone.append(seconds / len(predictor.rows))
    size = nibabel.load(next(scans.iterdir())).shape
    return size, len(shapes) // len(predictor.rows), statistics.median(whole), statistics.median(alone)


@contextmanager
def shapes_through(network: Network) -> Iterator[list[torch.Size]]:
    """The shapes that a network computes meanwhile; what is only tried to know its memory is none of them."""
    shapes: list[torch.Size] = []

    def note(_module: Network, inputs: tuple[torch.Tensor, ...]) -> None:
        if not inputs[0].is_meta:
            shapes.append(inputs[0].shape)

    hook = network.register_forward_pre_hook(note)
    yield shapes
    hook.remove()


# Equality


@torch.inference_mode()
def equality(report: Report, options: argparse.Namespace) -> None:
    """The largest difference of probabilities over random shapes, windows, overlaps and batches, in 2D and 3D."""
    count, largest, rng = 20 if options.quick else 200, 0.0, np.random.default_rng(0)
    tell(f"equality: {count} random settings")
    for turn in range(count):
        torch.manual_seed(turn)
        dims = 2 + turn % 2
        network = UNet(dims, 1, 3, (4, 8, 16), (2, 2), num_res_units=1).eval()
        image = torch.randn(1, 1, *rng.integers(5, 50, dims).tolist())
        settings = {
            "roi_size": (4 * rng.integers(2, 9, dims)).tolist(),
            "sw_batch_size": int(rng.integers(1, 6)),
            "overlap": float(rng.choice([0, 0.25, 0.5, 0.6, 0.75])),
            "mode": str(rng.choice(["gaussian", "constant"])),
        }
        inferers = (SlidingWindowInferer(**settings), SlidingWindow(**settings))
        expected, found = (inferer(image, network).softmax(1) for inferer in inferers)
        largest = max(largest, float((expected - found).abs().max()))
    header = ["random settings", "largest difference of probabilities"]
    report.table("Equality in fp32", header, [[str(count), f"{largest:.1e}"]])
    report.numbers["max_probability_difference"] = largest


# Memory, each in a process of its own


def memory(report: Report, options: argparse.Namespace) -> None:
    """Peaks of 105 classes: ours of the whole volume, the others' of as many slices as they survive."""
    network, slices = ("thin DynUNet", 64) if options.quick else (options.memory_network, 1000)
    header = ["", "slices survived", "time", "peak", "input and labels", "beyond them"]
    rows = []
    for who in ("medseg",) if options.quick else WHO:
        halves = itertools.takewhile(lambda count: count > 10, (slices >> turn for turn in range(20)))
        tries = (in_child(options, who=who, network=network, classes=105, shape=(512, 512, count)) for count in halves)
        found = next(filter(None, tries), None)
        rows.append([who, *(found.cells() if found else ["none", *"----"])])
        if who == "medseg" and found:
            report.numbers["peak_ratio_105_classes"] = found.peak / (found.needed + 1.5 * GB)
    title = f"Peak memory of {network}, 512 x 512 x {slices} voxels, 105 classes, {options.memory:.0f} GB allowed"
    report.table(title, header, rows)


def growth(report: Report, options: argparse.Namespace) -> None:
    """Time and peak of volumes of one, two, four and eight times as many slices."""
    if options.quick:
        return
    shapes = [(192, 192, 128 * times) for times in (1, 2, 4, 8)]
    spec = {"who": "medseg", "network": "spleen U-Net", "classes": 2}
    found = [each for shape in shapes if (each := in_child(options, shape=shape, **spec))]
    logs = np.log([(each.slices, each.seconds) for each in found]).T
    title = f"Growth: time goes with the number of slices to the power of {np.polyfit(*logs, 1)[0]:.2f}"
    header = ["slices of 192 x 192, 2 classes", "time", "peak", "input and labels", "beyond them"]
    report.table(title, header, [each.cells() for each in found])


class Peak(NamedTuple):
    """What a child found: seconds, and bytes of its peak and of the volume and the labels that it holds."""

    slices: int
    seconds: float
    peak: float
    needed: float

    def cells(self) -> list[str]:
        sizes = (f"{each / GB:.2f} GB" for each in (self.peak, self.needed, self.peak - self.needed))
        return [str(self.slices), f"{self.seconds:.1f} s", *sizes]


WHO: dict[str, Callable[[Network, int], Segment]] = {
    "medseg": lambda network, _classes: ours(network, WINDOW, "auto", memory=WINDOW_MEMORY),
    "MONAI": lambda network, _classes: stock(network, WINDOW, 4),
} | ({"nnU-Net": lambda network, classes: nnunet(network, WINDOW, classes, mirror=False)} if HAS_NNUNET else {})


def in_child(options: argparse.Namespace, **spec: Any) -> Peak | None:
    """One volume segmented in a process of its own; None if it ran out of memory or of time."""
    tell(f"memory: {spec}")
    try:
        run = in_process(spec, options, stderr=subprocess.DEVNULL, timeout=60 * options.minutes)
    except subprocess.TimeoutExpired:
        return None
    return Peak(*json.loads(run.stdout.splitlines()[-1])) if run.returncode == 0 else None


def in_process(spec: dict[str, Any], options: argparse.Namespace, **how: Any) -> subprocess.CompletedProcess[bytes]:
    """This script once more, for one thing; what it found is the last line of its stdout."""
    command = [sys.executable, __file__, "--memory", str(options.memory), "--child", json.dumps(spec)]
    command += ["--busy"] if options.busy else []
    return subprocess.run(command, stdout=subprocess.PIPE, **how)


@torch.inference_mode()
def peak_of(spec: dict[str, Any], limit_gb: float) -> Peak:
    """What `in_child` asks for: no more private memory than the limit is given to this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit_gb * GB),) * 2)
    network, volume = network_of(spec["network"], spec["classes"]), noise(spec["shape"])
    segment = WHO[spec["who"]](network, spec["classes"])
    segment(noise(WINDOW))  # makes ready
    seconds = seconds_of(segment, volume)
    return Peak(spec["shape"][-1], seconds, peak_bytes(), volume.nbytes + volume.nelement())


def peak_bytes() -> int:
    """The most that was resident in this process; `getrusage` would count the process that started it too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


# The report


class Report:
    """Tables for people and numbers for machines."""

    def __init__(self) -> None:
        self.tables: list[str] = []
        self.numbers: dict[str, float] = {}

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))
        self.tables.append(f"### {title}\n\n{lines}\n")
        tell(self.tables[-1])


def machine() -> str:
    """One line: processor, threads, memory and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "CPU")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GB
    packages = [name for name in ("torch", "monai", "nnunetv2") if util.find_spec(name)]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    if device.type == "cuda":
        model += f", {torch.cuda.get_device_name(device)}"
    return f"{model}, {torch.get_num_threads()} threads, {total:.0f} GB; Python {sys.version.split()[0]}, {versions}"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def paths(words: Sequence[str]) -> dict[str, Path]:
    """NAME=PATH as a mapping."""
    found = dict(word.split("=", 1) for word in words if "=" in word)
    if len(found) < len(words) or not found.keys() <= TASKS.keys():
        raise SystemExit(f"bench_inference: {' '.join(words)}: expected NAME=PATH, NAME one of {', '.join(TASKS)}")
    return {name: Path(path) for name, path in found.items()}


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
PARTS = {
    "speed": speed,
    "accuracy": accuracy,
    "file": file_to_file,
    "memory": memory,
    "growth": growth,
    "equality": equality,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller")
    parser.add_argument("--json", action="store_true", help="one object on stdout instead of tables")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=FILE", help=f"NAME: {', '.join(TASKS)}")
    parser.add_argument("--data", nargs="+", default=[], metavar="NAME=FOLDER", help="its dataset")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["spleen U-Net", "DynUNet"])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="of the volumes, for speed")
    parser.add_argument("--classes", nargs="+", type=int, default=[2, 105], help="for speed")
    parser.add_argument("--minutes", type=float, default=30, help="for all rounds of one network on one volume")
    parser.add_argument("--memory", type=float, default=24, help="GB that a contestant may take")
    parser.add_argument("--memory-network", choices=NETWORKS, default="spleen U-Net")
    parser.add_argument(
        "--busy", action="store_true", help="on one core that others use: seconds of it, not of the clock"
    )
    parser.add_argument("--device", default="cpu", help="cuda or cuda:1: the speed alone")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options, report, began = parser.parse_args(), Report(), time.perf_counter()
    globals()["device"] = check_device(options.device)
    if device.type == "cuda":
        options.only = ["speed"]
    if options.busy:
        globals()["now"] = time.process_time
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with redirect_stdout(sys.stderr):
        if options.child:
            spec = json.loads(options.child)
            found = json.dumps(peak_of(spec, options.memory) if "who" in spec else predicted(**spec))
        else:
            if not HAS_NNUNET and not options.quick:
                tell("nnunetv2 is not installed: its lines are left out")
            for name in options.only:
                PARTS[name](report, options)
            found = json.dumps({key: report.numbers[key] for key in KEYS if key in report.numbers}, indent=2)
            tell(f"{time.perf_counter() - began:.0f} s")
    tables = "\n".join([f"`{' '.join(sys.argv)}` on {machine()}\n", *report.tables])
    print(found if options.json or options.child else tables)


if __name__ == "__main__":
    main()
