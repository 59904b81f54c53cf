"""`medseg train`, `evaluate` and `predict`: doors to a bundle's three configs."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medseg.bundle.overrides import parse_overrides
from medseg.bundle.run import find_bundle, find_layer, run_bundle

Bundle = Annotated[str, typer.Argument(help="A bundle's folder, or the name of one that medseg ships.")]
Layers = Annotated[
    list[str] | None,
    typer.Option("--layer", help="A config merged over the bundle's: a file, or a name in configs/ (repeatable)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Checkpoint = Annotated[
    list[Path] | None,
    typer.Option("--checkpoint", help="Weights instead of the bundle's models/model.pt; several for an ensemble."),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N; chosen if not given.")]
DatasetDir = Annotated[
    Path | None,
    typer.Option("--dataset_dir", help="Folder with images/ and labels/, one file per case of the same name."),
]


def train(
    context: typer.Context,
    bundle: Bundle,
    dataset_dir: DatasetDir = None,
    output_dir: Annotated[Path | None, typer.Option("--output_dir", help="Where weights and pictures go.")] = None,
    max_epochs: Annotated[int | None, typer.Option("--max_epochs", help="How long to train.")] = None,
    fold: Annotated[
        str | None, typer.Option("--fold", help="Which part of the cases validates, from 0; 'all' trains on all.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="For everything that is drawn at random.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted training in output_dir, if there is one.")
    ] = False,
    device: Device = None,
    layer: Layers = None,
    as_json: Json = False,
) -> None:
    """Train a bundle on a dataset; any other id of its train.yaml can be given as --ID VALUE.

    Example: medseg train hippocampus_mri_3d --dataset_dir DATASET --output_dir runs/hippo
    """
    given = {
        "dataset_dir": dataset_dir,
        "output_dir": output_dir,
        "max_epochs": max_epochs,
        "fold": _number_or_word(fold),
        "seed": seed,
        "resume": resume or None,
        "device": device,
    }
    workflow = _run(context, bundle, "train.yaml", layer, given)
    trainer = workflow.parser.get_parsed_content("train::trainer")
    result = trainer.result()
    if as_json:
        _print_json(result)
    else:
        dice = result["best_val_dice"]
        how_good = "no validation" if dice is None else f"best validation Dice {dice:.4f}"
        held_out = " --fold test" if fold == "all" else ""  # trained on every other case
        with_weights = f"{shlex.quote(bundle)} --checkpoint {shlex.quote(result['checkpoint'])}"
        _err.print(
            f"{how_good}, epoch {result['best_epoch']}; "
            f"weights in {result['checkpoint']}\n"
            f"next: medseg evaluate {with_weights} --dataset_dir {shlex.quote(str(dataset_dir))}{held_out}\n"
            f"      medseg predict {with_weights} --input SCAN",
            highlight=False,
            soft_wrap=True,
        )


def evaluate(
    context: typer.Context,
    bundle: Bundle,
    dataset_dir: DatasetDir = None,
    output_dir: Annotated[Path | None, typer.Option("--output_dir", help="For cases.csv and summary.json.")] = None,
    checkpoint: Checkpoint = None,
    fold: Annotated[
        str | None, typer.Option("--fold", help="Measure on this fold's validation cases, 'test' or 'all'.")
    ] = None,
    device: Device = None,
    layer: Layers = None,
    as_json: Json = False,
) -> None:
    """Measure a bundle on labelled cases: Dice, IoU, HD95 and surface Dice per class.

    Example: medseg evaluate hippocampus_mri_3d --dataset_dir DATASET --fold 4 --output_dir OUT
    """
    given = {
        "dataset_dir": dataset_dir,
        "output_dir": output_dir,
        "checkpoint": _one_or_several(checkpoint),
        "fold": _number_or_word(fold),
        "device": device,
    }
    workflow = _run(context, bundle, "evaluate.yaml", layer, given)
    evaluation = workflow.parser.get_parsed_content("evaluator").evaluation
    if as_json:
        _print_json(evaluation.summary())
    else:
        console = Console()
        console.print(scores_table(evaluation))
        for name, found in evaluation.summary().get("measures", {}).items():
            for line in measure_lines(found, name):
                console.print(line, highlight=False, soft_wrap=True)


def tune(
    context: typer.Context,
    bundle: Bundle,
    dataset_dir: DatasetDir = None,
    checkpoint: Checkpoint = None,
    output_dir: Annotated[Path | None, typer.Option("--output_dir", help="For what is made on the way.")] = None,
    fold: Annotated[str | None, typer.Option("--fold", help="The fold that the weights were validated on.")] = None,
    device: Device = None,
    layer: Layers = None,
) -> None:
    """Choose thresholds and smallest sizes on validation cases; they are kept beside the weights and used from then on.

    Example: medseg tune microscopy_cells_2d --dataset_dir DATASET --checkpoint runs/cells/models/model.pt
    """
    given = {
        "dataset_dir": dataset_dir,
        "output_dir": output_dir,
        "checkpoint": _one_or_several(checkpoint),
        "fold": _number_or_word(fold),
        "device": device,
    }
    _run(context, bundle, "evaluate.yaml", layer, given, run_id="tune")


def predict(
    context: typer.Context,
    bundle: Bundle,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Image files, DICOM series folders, or folders of either.", metavar="[INPUTS]..."),
    ] = None,
    input: Annotated[list[str] | None, typer.Option("--input", help="The same (repeatable).")] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output_dir", "-o", help="For label maps, previews and results.csv.")
    ] = None,
    checkpoint: Checkpoint = None,
    device: Device = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Leave out the cases that are complete; several processes can share a folder."),
    ] = False,
    ram: Annotated[float | None, typer.Option("--ram", help="GB that the process may hold in main memory.")] = None,
    vram: Annotated[float | None, typer.Option("--vram", help="The same on a GPU.")] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="I/N, this process's share of the cases; auto asks SLURM or torchrun.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="local, or ray for the Ray cluster at RAY_ADDRESS.")
    ] = None,
    layer: Layers = None,
    as_json: Json = False,
) -> None:
    """Segment scans; every label map has its scan's shape and place in the world.

    A case that fails has a line and a row in results.csv; the others go on, and the exit status tells in the end.

    Example: medseg predict hippocampus_mri_3d SCAN.nii.gz SERIES_FOLDER --output_dir OUT --resume
    """
    named, context.args = _apart([*(inputs or []), *context.args])
    given = {
        "input": _one_or_several([*named, *(input or [])]),
        "output_dir": output_dir,
        "checkpoint": _one_or_several(checkpoint),
        "device": device,
        "resume": resume or None,
        "ram": ram,
        "vram": vram,
        "shard": shard,
        "engine": engine,
    }
    workflow = _run(context, bundle, "inference.yaml", layer, given)
    predictor = workflow.parser.get_parsed_content("evaluator")
    if as_json:
        _print_json([row.as_dict() for row in predictor.rows])


_err = Console(stderr=True)


def _one_or_several(given: Sequence[str | Path] | None) -> str | list[str] | None:
    paths = [str(path) for path in given or []]
    return paths[0] if len(paths) == 1 else paths or None


def _apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Words, and overrides (`--ID VALUE`, `--ID=VALUE`) that stand between them."""
    plain, overrides, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            overrides += [word, *(rest[:1] if "=" not in word else [])]
            rest = rest if "=" in word else rest[1:]
        else:
            plain.append(word)
    return plain, overrides


def _number_or_word(fold: str | None) -> int | str | None:
    return int(fold) if fold and fold.isdecimal() else fold


def _run(
    context: typer.Context,
    bundle: str,
    config: str,
    layers: list[str] | None,
    given: dict[str, Any],
    run_id: str = "run",
) -> Any:
    quiet_libraries()
    overrides = {
        id: str(value) if isinstance(value, Path) else value for id, value in given.items() if value is not None
    }
    overrides |= parse_overrides(context.args)
    folder = find_bundle(bundle)
    return run_bundle(
        folder, config, layers=[find_layer(each, folder) for each in layers or []], overrides=overrides, run_id=run_id
    )


def quiet_libraries() -> None:
    """Keep MONAI's and MLflow's notices and MLflow's telemetry from a user who asked for neither."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.getLogger("monai").setLevel(logging.ERROR)  # it tells at every import of an absent GPU decoder


def scores_table(evaluation: Any) -> Table:
    """The scores of an `Evaluation` as a table for a terminal: means with their 95 % intervals."""
    summary = evaluation.summary()
    table = Table(title=f"{summary['cases']} cases, mean Dice {_number(summary['mean_dice'])}", title_justify="left")
    unit = summary["length_unit"]
    tolerance = f"surface Dice at {summary['surface_dice_tolerance_mm']:g} {unit}"
    for column in ("class", "Dice", "IoU", f"HD95 {unit}", tolerance, "misses", "false alarms"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, scores in summary["classes"].items():
        estimates = (scores[metric] for metric in ("dice", "iou", "hd95_mm", "surface_dice"))
        cells = [_estimate(each["mean"], each["interval"]) for each in estimates]
        table.add_row(name, *cells, str(scores["misses"]), str(scores["false_alarms"]))
    return table


def measure_lines(found: Mapping[str, Any], name: str) -> Iterator[str]:
    """What was measured over all cases, a line for each structure: `pixels structures vessel: f_score 0.829, ...`."""
    values = {key: each.get("value") if isinstance(each, Mapping) else each for key, each in found.items()}
    numbers = [f"{key} {_number(value)}" for key, value in values.items() if isinstance(value, int | float)]
    if numbers:
        yield f"{name}: {', '.join(numbers)}"
    for key, each in found.items():
        if isinstance(each, Mapping) and "value" not in each:
            yield from measure_lines(each, f"{name} {key}")


def _estimate(mean: float | None, interval: tuple[float, float] | None) -> str:
    return _number(mean) + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value}" if isinstance(value, int) else f"{value:.3f}"


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
