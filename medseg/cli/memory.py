"""`medseg memory`: what a bundle's network needs before it is trained or used, and how many images fit."""

from __future__ import annotations

import json
import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medseg.bundle.run import find_bundle
from medseg.cli.run import quiet_libraries

if TYPE_CHECKING:
    from medseg.planning import Plan

_MIB = 2**20
_GIB = 2**30


class Steps(str, Enum):
    """Which steps to look at."""

    training = "training"
    inference = "inference"
    both = "both"


def memory(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of one that medseg ships.")],
    size: Annotated[list[str], typer.Option("--size", help="Of a patch or image: 640x959, 96x96x64 (repeatable).")],
    batch: Annotated[int | None, typer.Option("--batch", help="Images in a step; else as the bundle trains.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cuda or cuda:N measures, cpu counts; chosen if not given.")
    ] = None,
    mode: Annotated[Steps, typer.Option("--mode", help="Which steps to look at.")] = Steps.both,
    limit: Annotated[
        list[float] | None,
        typer.Option("--limit", help="GiB that a batch is to fit into (repeatable); else what the device has free."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="auto, fp32, bf16, fp16; else as the bundle trains.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")] = False,
) -> None:
    """Say what a training and an inference step need, and the largest batch that fits; no dataset is needed.

    On a GPU real steps are measured. On a CPU nothing is computed: the bytes of tensors alive are counted, which
    tells what to expect of a GPU that is not there.

    Example: medseg memory retina_vessels_2d --size 640x959 --size 1280x1918 --limit 6 --limit 12 --precision bf16
    """
    quiet_libraries()
    from medseg.device import check_device, pick_device
    from medseg.planning import plan_memory
    from medseg.planning.steps import MODES

    plan = plan_memory(
        find_bundle(bundle),
        size,
        device=pick_device() if device is None else check_device(device),
        modes=[each for each in MODES if mode.value in (each, "both")],
        batch=batch,
        limits_gib=limit or [],
        precision=precision,
    )
    if as_json:
        sys.stdout.write(json.dumps(_facts(bundle, plan), indent=2) + "\n")
    else:
        _show(bundle, plan)


def _facts(bundle: str, plan: Plan) -> dict[str, Any]:
    return {
        "bundle": bundle,
        "how": _how(plan),
        "precision": _precision(plan),
        "steps": [
            {
                "mode": each.mode,
                "size": each.asked,
                "computed_size": each.size,
                "batch": each.batch,
                "weights_mib": _mib(each.weights),
                "optimizer_mib": _mib(each.optimizer),
                "fixed_mib": _mib(each.fixed),
                "per_image_mib": _mib(each.per_image),
                "step_mib": _mib(each.step),
                "largest_batch": [
                    {"limit_gib": round(limit / _GIB, 3), "batch": batch} for limit, batch in each.largest.items()
                ],
            }
            for each in plan.footprints
        ],
    }


def _show(bundle: str, plan: Plan) -> None:
    table = Table(title=f"{bundle}, {_precision(plan)}: MiB, and the largest batch that fits", title_justify="left")
    for column in ("size", "step"):
        table.add_column(column, no_wrap=True)
    batch = plan.footprints[0].batch
    limits = (f"in {limit / _GIB:.3g} GiB" for limit in plan.limits)
    for column in ("weights", "fixed", "per image", f"batch of {batch}", *limits):
        table.add_column(column, justify="right")
    for each in plan.footprints:
        amounts = (each.weights, each.fixed, each.per_image, each.step)
        largest = (str(each.largest[limit]) for limit in plan.limits)
        table.add_row(_size(each.size), each.mode, *map(_amount, amounts), *largest)
    console = Console(highlight=False)
    console.print(table)
    for asked, size in {(each.asked, each.size): None for each in plan.footprints if each.size != each.asked}:
        console.print(f"{_size(asked)}: the network does not take it; {_size(size)} is the next size that it does")
    console.print(_how(plan), soft_wrap=True)


def _how(plan: Plan) -> str:
    if plan.measured:
        return "measured: real steps on the GPU, with the workspaces of cuDNN; without the GPU's own context"
    return (
        "counted on the CPU: tensors alive, without cuDNN workspaces, a GPU's own context and gaps in its memory; "
        "leave room for these"
    )


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _precision(plan: Plan) -> str:
    return str(plan.precision).removeprefix("torch.")


def _mib(amount: int | None) -> float | None:
    return None if amount is None else round(amount / _MIB, 3)


def _amount(amount: int | None) -> str:
    return "does not fit" if amount is None else f"{amount / _MIB:.1f}"
